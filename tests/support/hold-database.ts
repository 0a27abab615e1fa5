import { openDatabase } from "../../src/db/client.ts";
import { startJobs } from "../../src/db/jobs.ts";
import { migrate } from "../../src/db/migrate.ts";
import { StartError } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";

// A process that opens a database (by URL or directory), prints "open", and holds it until its input ends. With
// `migrate` it first migrates the database.
const [where = "", work] = process.argv.slice(2);
const isUrl = where.startsWith("postgres");
try {
  const database = await openDatabase({ url: isUrl ? where : null, dataDir: isUrl ? "" : where, maxConnections: 3 });
  if (work === "migrate") {
    await migrate(database, async () => {
      await (await startJobs(database, createLog({ level: "error", format: "json" })))[Symbol.asyncDispose]();
    });
  }
  process.stdout.write("open\n");
  for await (const _ of process.stdin);
  await database[Symbol.asyncDispose]();
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
