import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { terminal } from "../../src/execution/states.ts";
import { check } from "./checker.ts";
import { disturb } from "./faults.ts";
import { load, patiently, prepare } from "./load.ts";
import { follow, recordDatabase, recordRemains, watchProcesses } from "./recorder.ts";
import { type System, startSystem } from "./system.ts";

// Runs Attune under load and faults, records what happens, and checks it: `npm run chaos -- --minutes 2 --seed 1`.
const { values } = parseArgs({ options: { minutes: { type: "string", default: "2" }, seed: { type: "string" } } });
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!(minutes > 0) || !Number.isInteger(seed)) throw new Error("usage: npm run chaos -- [--minutes 2] [--seed 1]");

/** How long the backlog of the faults may take on a busy machine. */
const drainMs = 10 * 60_000;

/** Waits until nothing is left to do, or for the longest time; what is left then, the checker finds. Returns the milliseconds. */
async function drain({ direct }: System): Promise<number> {
  const from = Date.now();
  const ended = terminal.map((status) => `'${status}'`).join(", ");
  for (;;) {
    const [row] = await patiently(() =>
      direct.unsafe(`select (select count(*) from attune.event where evaluated_at is null)::int
        + (select count(*) from attune.execution where status not in (${ended}))::int as left`),
    );
    if (row?.["left"] === 0 || Date.now() - from > drainMs) return Date.now() - from;
    await sleep(500);
  }
}

/** Waits until the subscriber has received the log's newest entry about an execution. */
async function caughtUp({ direct }: System, cursor: () => string): Promise<void> {
  for (const until = Date.now() + 120_000; Date.now() < until; await sleep(200)) {
    const [row] = await patiently(
      () => direct`select max(id)::text as newest from attune.notification where channel = 'execution'`,
    );
    if (cursor().endsWith(`.${row?.["newest"]}`)) return;
  }
}

async function run(): Promise<{ path: string; directory: string; isGood: boolean }> {
  console.log(`seed ${seed}, ${minutes} min`);
  await using system = await startSystem();
  const { history } = system;
  history.add({ kind: "run", at: Date.now(), seed, minutes });
  const hook = await prepare(system);
  const following = await follow(system, seed);
  const watching = watchProcesses(system);
  const until = Date.now() + minutes * 60_000;
  const [faults] = await Promise.all([disturb(system, seed, until), load(system, hook, { seed, until })]);
  console.log(
    [...faults]
      .map(([fault, count]) => `  ${fault}: ${count}`)
      .sort()
      .join("\n"),
  );
  const drained = await drain(system);
  await caughtUp(system, following.cursor);
  await following.stop();
  history.add({ kind: "finished", at: Date.now() });
  await patiently(() => recordDatabase(system));
  await system.stop();
  await watching.stop();
  recordRemains(system);
  const entries = history.read();
  const count = (kind: string) => entries.filter((entry) => entry.kind === kind).length;
  console.log(
    `  ${count("accepted")} accepted, ${count("refused")} refused, ${count("event")} events, ${count("execution")} executions, ` +
      `${count("transition")} transitions, ${count("start")} processes, ${count("gone")} of them killed, drained in ${drained} ms`,
  );
  const violations = check(entries);
  for (const { rule, what } of violations.slice(0, 50)) console.log(`  BROKEN: ${rule}: ${what}`);
  return { path: history.path, directory: system.directory, isGood: violations.length === 0 };
}

const { path, directory, isGood } = await run();
console.log(isGood ? `seed ${seed}: every rule is kept` : `seed ${seed}: rules are broken; the history is ${path}`);
if (isGood) rmSync(directory, { recursive: true });
process.exit(isGood ? 0 : 1);
