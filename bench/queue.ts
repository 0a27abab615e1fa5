import { randomUUID } from "node:crypto";
import { fromPglite, PgBoss } from "pg-boss";
import type { Load } from "./pipeline.ts";
import type { Stage } from "./stage.ts";

/** Plain pg-boss, in its own schema of the same database, for comparison. */
export interface RawQueue extends AsyncDisposable {
  /** Sends jobs and concurrently fetches and deletes them, in batches of the same size, until none is left. */
  run(load: Load): Promise<void>;
}

/** Starts pg-boss with as many connections as the pipeline has. */
export async function startRawQueue({ services: { database } }: Stage): Promise<RawQueue> {
  const shared = { schema: "raw_jobs", schedule: false, supervise: false };
  const boss = database.pglite
    ? new PgBoss({ ...shared, db: fromPglite(database.pglite), backend: "pglite" })
    : new PgBoss({ ...shared, connectionString: database.url ?? "", max: 10 });
  await boss.start();
  const queue = "raw";
  await boss.createQueue(queue, { retryLimit: 0, notify: false });
  return {
    run: async ({ batch, emitters, count }) => {
      let unsent = count;
      let left = count;
      const send = async () => {
        while (unsent > 0) {
          const size = Math.min(batch, unsent);
          unsent -= size;
          await boss.insert(
            queue,
            Array.from({ length: size }, (_, entity) => ({ id: randomUUID(), data: { entity } })),
          );
        }
      };
      const take = async () => {
        while (left > 0) {
          const jobs = await boss.fetch(queue, { batchSize: batch });
          left -= jobs.length;
          if (jobs.length > 0) {
            await boss.deleteJob(
              queue,
              jobs.map(({ id }) => id),
            );
          } else await new Promise((resolve) => setTimeout(resolve, 1));
        }
      };
      await Promise.all([...Array.from({ length: emitters }, send), ...Array.from({ length: emitters }, take)]);
    },
    [Symbol.asyncDispose]: () => boss.stop({ graceful: false }),
  };
}
