import postgres, { type Sql } from "postgres";
import { type RandomTransaction, randomTransaction } from "./race.ts";

// A process with several connections that run random transactions, and announces each commit as the server does. It prints a
// dot for each.
const [url = "", connections = "", transactions = ""] = process.argv.slice(2);
const deadlock = "40P01";

/** Runs the transaction and returns whether it has committed. */
async function run(sql: Sql, { steps, end }: RandomTransaction): Promise<boolean> {
  await sql.unsafe("begin");
  try {
    for (const step of steps) {
      if (typeof step === "string") await sql.unsafe(step);
      else await new Promise((resolve) => setTimeout(resolve, step)); // holding its locks meanwhile
    }
    await sql.unsafe(end);
    return end === "commit";
  } catch (error) {
    // Relocking a row that a savepoint has released may deadlock, although all lock their rows in one order.
    if (!(error instanceof postgres.PostgresError && error.code === deadlock)) throw error;
    await sql.unsafe("rollback");
    return false;
  }
}

async function write(): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {}, connection: { application_name: "race writer" } });
  for (let count = 0; count < Number(transactions); count += 1) {
    if (!(await run(sql, randomTransaction()))) continue;
    await sql.notify("attune", "writer feed");
    process.stdout.write(".");
  }
  await sql.end();
}

await Promise.all(Array.from({ length: Number(connections) }, write));
