import type { Option } from "commander";
import type { Administration, DatabaseStatus, SchemaObject } from "../administration.ts";
import { confirm, requireTerminal } from "../confirm.ts";
import type { Context } from "../context.ts";
import { addGroup, type Definition, define, type Group, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";

interface Options {
  settings?: string;
  yes?: boolean;
  force?: boolean;
}

const settings = () =>
  option("--settings <file>", "a file with settings for variables that the environment lacks, if there is one");
const yes = () => option("--yes", "do not ask");
const force = () => option("--force", "end the connections of others to PostgreSQL, which else prevent it");

/** What a command of the group does with the database. */
interface Work extends Omit<Definition<Options>, "run" | "options"> {
  options?: readonly Option[];
  /** Returns the exit code, if it is not 0. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most commands return nothing.
  run(administration: Administration, context: Context, options: Options): Promise<number | void>;
}

/** Adds `db` and its commands, which need no server. */
export function addDatabase(top: Group): void {
  const description =
    "work with the database that the settings of a server name (ATTUNE__DATABASE__URL), without a server";
  const group = addGroup(top, "db", description, "status");
  const add = ({ options = [], run, ...rest }: Work) =>
    define<Options>(group, {
      ...rest,
      options: [...options, settings()],
      run: async (context, _operands, given) => {
        refuseServer(context);
        if (options.some(({ long }) => long === "--yes")) {
          requireTerminal(context.terminal, given.yes, `attune db ${rest.name}`);
        }
        return await run(await context.terminal.administer(context.terminal.env, given.settings), context, given);
      },
    });
  addMakers(add);
  addRemovers(add);
  addReaders(add);
}

/** A database is not what these options name, and ignoring them would change another than the one that is meant. */
function refuseServer({ options }: Context): void {
  const name = (["url", "token", "profile"] as const).find((one) => options[one] !== undefined);
  if (name === undefined) return;
  throw new UsageFailure(
    `--${name} names a server; the commands of "attune db" work with the database of ATTUNE__DATABASE__URL or ATTUNE__DATA_DIR.`,
  );
}

type Add = (work: Work) => void;

const absent = ({ place }: Administration) => `There is no database at ${place}.`;

async function migrate(administration: Administration, context: Context): Promise<void> {
  const { known, pending } = await administration.migrate();
  const before = pending.length === 0 ? "none was" : `${pending.length} ${pending.length === 1 ? "was" : "were"}`;
  context.note(`The database at ${administration.place} has all ${known} migrations; ${before} pending.`);
}

async function setUp(administration: Administration, context: Context): Promise<void> {
  if (await administration.create()) context.note(`The database at ${administration.place} is created.`);
  await migrate(administration, context);
}

function addMakers(add: Add): void {
  add({
    name: "setup",
    isDefault: true,
    description:
      'create the database if it is missing, and migrate it to this version; also what "attune db" does alone',
    examples: ["setup", "setup --settings .env"],
    run: setUp,
  });
  add({
    name: "create",
    description: "create an empty database if it is missing",
    examples: ["create"],
    run: async (administration, context) => {
      const isNew = await administration.create();
      context.note(
        isNew
          ? `The database at ${administration.place} is created.`
          : `The database at ${administration.place} exists already.`,
      );
    },
  });
  add({
    name: "migrate",
    description: "migrate an existing database to this version; several processes may do so at once",
    examples: ["migrate"],
    run: migrate,
  });
}

function addRemovers(add: Add): void {
  const consent =
    (administration: Administration, { terminal }: Context, options: Options, what: string) =>
    async () => {
      if (!options.yes) await confirm(terminal, `${what} the database at ${administration.place}.`);
    };
  add({
    name: "drop",
    description: "remove the database with everything in it; not the files of artifacts and the encryption key",
    options: [yes(), force()],
    examples: ["drop --yes"],
    run: async (administration, context, options) => {
      const agreed = consent(administration, context, options, "This removes");
      const isRemoved = await administration.drop(agreed, { force: options.force ?? false, again: false });
      if (!isRemoved) throw new Failure(absent(administration));
      context.note(`The database at ${administration.place} is removed.`);
    },
  });
  add({
    name: "reset",
    description: "remove the database, and set up a new one",
    options: [yes(), force()],
    examples: ["reset --yes"],
    run: async (administration, context, options) => {
      const agreed = consent(administration, context, options, "This removes, and creates anew,");
      if (await administration.drop(agreed, { force: options.force ?? false, again: true })) {
        context.note(`The database at ${administration.place} is removed.`);
      }
      await setUp(administration, context);
    },
  });
  add({
    name: "clean",
    description: "remove all rows, but keep the schema; the next start of a server loads the packs again",
    options: [yes()],
    examples: ["clean --yes"],
    run: async (administration, context, options) => {
      const count = await administration.clean(consent(administration, context, options, "This removes all rows of"));
      context.note(`${count} tables of the database at ${administration.place} are empty now.`);
    },
  });
}

function addReaders(add: Add): void {
  add({
    name: "verify",
    description:
      "list every table, column, view, function, trigger, index, constraint and enum that the migrations create as found or missing; fails if one is missing, which includes invalid indexes and disabled triggers",
    examples: ["verify", "verify --output json"],
    run: async (administration, context) => {
      const objects = await administration.verify();
      await context.printRows(
        objects,
        [
          ["KIND", "kind"],
          ["NAME", "name"],
          ["STATE", "state"],
        ],
        "",
      );
      const missing = objects.filter(({ state }) => state === "missing");
      if (missing.length === 0) return context.note(`All ${objects.length} are found.`);
      const list = missing.slice(0, 10).map(nameOf);
      const more = missing.length > list.length ? `, and ${missing.length - list.length} more` : "";
      context.note(`${missing.length} of ${objects.length} are missing: ${list.join(", ")}${more}.`);
      return 1;
    },
  });
  add({
    name: "status",
    description: "show the versions, the migrations, the size, the connections, and the rows of each table",
    examples: ["status", "status --output json"],
    run: async (administration, context) => {
      const status = await administration.status();
      if (context.options.output !== "table") return await context.printValue(status);
      await context.printObject(summaryOf(status));
      await context.write("\n");
      const rows = status.tables.map(({ name, rows, isEstimate }) => ({
        name,
        rows: `${isEstimate ? "about " : ""}${rows}`,
      }));
      await context.printRows(
        rows,
        [
          ["TABLE", "name"],
          ["ROWS", "rows"],
        ],
        "There are no tables.",
      );
    },
  });
}

const nameOf = ({ kind, name }: SchemaObject) => `${kind} ${name}`;

function summaryOf({ version, database, migrations, connections }: DatabaseStatus): Record<string, unknown> {
  const { applied, pending, latest } = migrations;
  const names = connections.map(({ application, count }) => `${count} × ${application}`);
  return {
    program: `Attune ${version}`,
    database: `${database.version} at ${database.place}`,
    migrations: `${applied} applied${latest === null ? "" : `, the latest ${latest}`}`,
    pending: pending.length === 0 ? "none" : `${pending.length}, the first ${pending[0]}`,
    size: `${(database.sizeBytes / 1024 ** 2).toFixed(1)} MiB`,
    connections: names.length === 0 ? "none of others" : names,
  };
}
