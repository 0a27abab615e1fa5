import { type PGlite, protocol, type QueryOptions, type Transaction } from "@electric-sql/pglite";

const { serialize } = protocol;

type Mode = QueryOptions["rowMode"];

/** A statement that the embedded database has prepared. */
interface Statement {
  name: string;
  /** The types of its parameters, by oid. */
  parameters: number[];
  columns: Column[];
}

interface Column {
  name: string;
  parse: ((text: string) => unknown) | undefined;
}

/** A message of the database; only the fields that are read here. */
type Message =
  | { name: "parameterDescription"; dataTypeIDs: number[] }
  | { name: "rowDescription"; fields: { name: string; dataTypeID: number }[] }
  | { name: "dataRow"; fields: (string | null)[] }
  | { name: "commandComplete"; text: string };

interface Result {
  rows: unknown[];
  affectedRows: number;
}

/** How many statements stay prepared: each keeps its plan in the database's memory. */
const limit = 300;
const worthKeeping = /^\s*(select|insert|update|delete|with)\b/i;
/** PostgreSQL's "cached plan must not change result type", after a table was altered. */
const changedResult = "0A000";

/** The oids of the types that drizzle parses itself: timestamp, timestamptz, date, interval, and arrays of these and of numeric. */
const keptAsText = [1114, 1184, 1082, 1186, 1115, 1185, 1182, 1187, 1231];

/**
 * Returns the PGlite client that drizzle uses. PGlite's own `query` parses and plans each statement every time, and requests its
 * parameter types. This client does that once for each text, like the driver for PostgreSQL, with the extended query protocol (PostgreSQL
 * documentation, 55.2.3).
 */
export function preparedClient(pglite: PGlite): object {
  const statements = createStatements(pglite);

  async function run(text: string, params: readonly unknown[], mode: Mode): Promise<Result> {
    const { name, parameters, columns } = await statements.prepare(text);
    const values = params.map((value, index) => {
      if (value === null || value === undefined) return null;
      const write = pglite.serializers[parameters[index] ?? 0];
      return write ? write(value) : String(value);
    });
    try {
      return readResult(
        await send(pglite, serialize.bind({ statement: name, values }), serialize.execute({})),
        columns,
        mode,
      );
    } catch (error) {
      // The caller's retry prepares it again.
      if ((error as { code?: string }).code === changedResult) await statements.forget(text);
      throw error;
    }
  }

  /** The client within a transaction or, with null, outside of one: then it waits until no other transaction is open. */
  const clientOf = (tx: Transaction | null): object => ({
    query: async (text: string, params: unknown[], { rowMode }: QueryOptions) => {
      if (!worthKeeping.test(text)) return await (tx ?? pglite).query(text, params, { rowMode });
      if (tx?.closed) throw new Error("The transaction is closed.");
      const exclusive = () => pglite.runExclusive(() => run(text, params, rowMode));
      return tx ? await exclusive() : await pglite._runExclusiveTransaction(exclusive);
    },
    transaction: <T>(work: (client: object) => Promise<T>) => pglite.transaction((inner) => work(clientOf(inner))),
  });
  return clientOf(null);
}

/** Sends messages and a Sync, and returns the response. Throws the database's error, after which the Sync has restored the protocol. */
async function send(pglite: PGlite, ...messages: Uint8Array[]): Promise<Message[]> {
  const sent = Buffer.concat([...messages, serialize.sync()]);
  return (await pglite.execProtocolStream(sent, { syncToFs: false })) as unknown as Message[]; // by their names
}

/** Keeps at most `limit` prepared statements and drops the least recently used first. Calls must not overlap. */
function createStatements(pglite: PGlite) {
  const known = new Map<string, Statement>();
  let count = 0;

  async function forget(text: string): Promise<void> {
    const name = known.get(text)?.name;
    known.delete(text);
    if (name) await send(pglite, serialize.close({ type: "S", name }));
  }

  async function prepare(text: string): Promise<Statement> {
    const found = known.get(text);
    if (found) {
      known.delete(text);
      known.set(text, found);
      return found;
    }
    count += 1;
    const name = `attune_${count}`;
    const statement: Statement = { name, parameters: [], columns: [] };
    const messages = await send(pglite, serialize.parse({ name, text }), serialize.describe({ type: "S", name }));
    for (const message of messages) {
      if (message.name === "parameterDescription") statement.parameters = message.dataTypeIDs;
      if (message.name === "rowDescription") statement.columns = message.fields.map(columnOf);
    }
    known.set(text, statement);
    if (known.size > limit) for (const [oldest] of known.entries().take(1)) await forget(oldest);
    return statement;
  }

  const columnOf = ({ name, dataTypeID }: { name: string; dataTypeID: number }): Column => ({
    name,
    parse: keptAsText.includes(dataTypeID) ? undefined : pglite.parsers[dataTypeID],
  });

  return { prepare, forget };
}

function readResult(messages: readonly Message[], columns: readonly Column[], mode: Mode): Result {
  const result: Result = { rows: [], affectedRows: 0 };
  for (const message of messages) {
    if (message.name === "dataRow") {
      const values = message.fields.map((field, index) => {
        const parse = columns[index]?.parse;
        return field === null || !parse ? field : parse(field);
      });
      result.rows.push(
        mode === "array" ? values : Object.fromEntries(values.map((value, index) => [columns[index]?.name, value])),
      );
    } else if (message.name === "commandComplete" && /^(INSERT|UPDATE|DELETE)/.test(message.text)) {
      result.affectedRows = Number(message.text.slice(message.text.lastIndexOf(" ")));
    }
  }
  return result;
}
