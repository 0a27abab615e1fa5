// PostGraphile over the schema `attune` of the database at DATABASE_URL, as its documentation starts it; prints its address.
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  // Its condition types would take the names of two enums of the schema.
  disablePlugins: ["PgConditionArgumentPlugin", "PgConditionCustomFieldsPlugin"],
  pgServices: [
    makePgService({
      connectionString: process.env.DATABASE_URL,
      schemas: ["attune"],
      poolConfig: { max: 10 }, // as many as Attune's
    }),
  ],
  grafserv: { graphiql: false },
});
const server = createServer();
await instance.createServ(grafserv).addTo(server);
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`PostGraphile listens on http://127.0.0.1:${server.address().port}\n`);
});
process.once("SIGTERM", () => process.exit(0));
