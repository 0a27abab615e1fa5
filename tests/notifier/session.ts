import postgres from "postgres";
import type { TestServices } from "../support/database.ts";

/** One session of a database, in which the test begins and ends transactions. */
export interface Session extends AsyncDisposable {
  run<T = Record<string, unknown>>(text: string): Promise<T[]>;
  /** Inserts an entry into the log and returns its id. */
  enter(): Promise<number>;
  /** Returns the numbers that the writers of this database have locked. */
  locked(): Promise<number[]>;
}

/** Opens a new session; on the embedded database, returns the only one. */
export function openSession(engine: TestServices): Session {
  const { pglite } = engine.database;
  const client = pglite ? null : postgres(engine.location.url ?? "", { max: 1, onnotice: () => {} });
  const run = async <T>(text: string) => (pglite ? (await pglite.query(text)).rows : await client?.unsafe(text)) as T[]; // the column list is the type
  return {
    run,
    enter: async () => {
      const [entry] = await run<{ id: number }>(
        `insert into attune.notification (channel, entity_type, entity, activity) values ('pack', 'pack', 1, 'updated') returning id::int`,
      );
      return entry?.id ?? Number.NaN;
    },
    locked: async () => {
      const writers = await run<{ n: number }>("select entered::int as n from attune.notification_writer order by 1");
      return writers.map(({ n }) => n);
    },
    [Symbol.asyncDispose]: async () => {
      await client?.end();
    },
  };
}
