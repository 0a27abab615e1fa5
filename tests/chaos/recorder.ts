import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecutionStatus } from "../../src/execution/states.ts";
import { overSocket, type Stream } from "../support/client.ts";
import { request } from "../support/server.ts";
import { until } from "../support/until.ts";
import type { Entry } from "./history.ts";
import { secret } from "./load.ts";
import { createRandom } from "./random.ts";
import type { System } from "./system.ts";

/** Something that records until it is stopped. */
export interface Recording {
  stop(): Promise<void>;
}

interface Change {
  cursor: string;
  executionId: string;
  toStatus: string;
}

const rowId = (globalId: string) => Buffer.from(globalId, "base64url").toString().split(":")[1] ?? "";
const query = "subscription ($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }";

/** Follows all transitions over graphql-ws, drops the connection now and then, and resumes after the last cursor that it received. */
export async function follow(system: System, seed: number): Promise<Recording & { cursor(): string }> {
  const probe = overSocket<Change>(system, { query, variables: {} });
  const execution = `mutation { executeAction(input: {action: "core.noop"}) { ... on ExecuteActionPayload { execution { id } } } }`;
  const first = await until(
    async () => {
      await request(system, execution); // again, should the subscription begin after it
      await sleep(500);
      return probe.seen.find((each) => each?.toStatus === "COMPLETED");
    },
    "the first transitions",
    60_000,
  );
  await sleep(1000);
  let after = (probe.seen.at(-1) ?? first).cursor;
  probe.drop();
  system.history.add({ kind: "subscribed", at: Date.now(), execution: rowId(newest(probe.seen, first).executionId) });
  const random = createRandom(seed + 3_000_003);
  let [isOver, streams] = [false, 0];
  const run = async () => {
    while (!isOver) {
      streams += 1;
      const stream: Stream<Change> = overSocket(system, { query, variables: { after } });
      let [read, ended] = [0, false];
      void stream.ended.then(() => {
        ended = true;
      });
      const take = () => {
        for (const each of stream.seen.slice(read)) {
          if (each === null) continue; // beside the error that ends a stream
          after = each.cursor;
          const to = each.toStatus.toLowerCase() as ExecutionStatus;
          const seen = { stream: streams, cursor: each.cursor, execution: rowId(each.executionId), to };
          system.history.add({ kind: "seen", at: Date.now(), ...seen });
        }
        read = stream.seen.length;
      };
      const dropAt = Date.now() + random.between(3000, 20_000);
      while (!ended && !isOver && Date.now() < dropAt) {
        await sleep(50);
        take();
      }
      stream.drop();
      take();
      await sleep(200);
    }
  };
  const running = run();
  return {
    cursor: () => after,
    stop: async () => {
      isOver = true;
      await running;
    },
  };
}

const newest = (seen: readonly Change[], first: Change) =>
  seen.reduce((a, b) => (BigInt(rowId(b.executionId)) > BigInt(rowId(a.executionId)) ? b : a), first);

/** Watches the processes of actions, and records when those were last alive that end without recording it. */
export function watchProcesses({ history }: System): Recording {
  const alive = new Map<string, { start: Extract<Entry, { kind: "start" }>; at: number }>();
  let [offset, isOver] = [0, false];
  const look = () => {
    // Looked at first: a process that ends between the two has recorded its end.
    const now = Date.now();
    const gone = [...alive].filter(([, each]) => {
      if (!isAlive(each.start)) return true;
      each.at = now;
      return false;
    });
    const text = readFileSync(history.path).subarray(offset);
    const complete = text.subarray(0, text.lastIndexOf(10) + 1);
    offset += complete.length;
    for (const line of complete.toString().split("\n")) {
      if (!/^\{"kind":"(start|end)"/.test(line)) continue;
      const entry = JSON.parse(line) as Extract<Entry, { kind: "start" | "end" }>;
      if (entry.kind === "start") alive.set(`${entry.pid}/${entry.ticks}`, { start: entry, at: entry.at });
      else alive.delete(`${entry.pid}/${entry.ticks}`);
    }
    for (const [name, { start, at }] of gone) {
      if (!alive.delete(name)) continue;
      const { execution, pid, ticks } = start;
      history.add({ kind: "gone", at, execution, pid, ticks });
    }
  };
  const run = async () => {
    while (!isOver) {
      look();
      await sleep(100);
    }
    look();
    look();
  };
  const running = run();
  return {
    stop: async () => {
      isOver = true;
      await running;
    },
  };
}

function isAlive({ pid, ticks }: { pid: number; ticks: string }): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] !== "Z" && fields[19] === ticks;
  } catch {
    return false;
  }
}

/** Records what the database holds. */
export async function recordDatabase({ direct, history }: System): Promise<void> {
  const stored = await direct.begin("isolation level repeatable read", async (tx) => [
    ...(await tx`select 'event' as kind, id::text, (payload -> 'body' ->> 'n')::int as n, evaluated_at is not null as evaluated
      from attune.event where trigger_ref = 'default.hook' order by id`),
    ...(await tx`select 'enforcement' as kind, id::text, rule_ref as rule, event::text from attune.enforcement order by id`),
    ...(await tx`select 'execution' as kind, id::text, action_ref as action, status, enforcement::text, jsonb_build_object('key', config -> 'message') || coalesce(config, '{}') as config,
        waits_for as "waitsFor", (extract(epoch from run_at) * 1000)::float8 as "runAt", retry_of::text as "retryOf",
        retry_count as "retryCount", max_retries as "maxRetries", on_worker_loss as "onWorkerLoss", parent::text from attune.execution order by id`),
    ...(await tx`select 'transition' as kind, id::text, execution::text, from_status as "from", to_status as "to", attempt,
        (extract(epoch from at) * 1000)::float8 as at from attune.execution_transition order by id`),
    ...(await tx`select 'group' as kind, g.id::text, p.ref as policy, g.active, g.waiting from attune.policy_group g
      join attune.policy p on p.id = g.policy`),
    ...(await tx`select 'slot' as kind, policy_group::text as "group", execution::text, state from attune.policy_slot`),
  ]);
  for (const entry of stored) history.add(entry as Entry);
}

/** Records, after everything has stopped, the processes that actions left and the files that contain the secret. */
export function recordRemains({ directory, history, url }: System): void {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const environment = readFileSync(`/proc/${name}/environ`, "latin1").split("\0");
      const execution = environment.find((each) => each.startsWith("ATTUNE_EXEC_ID="));
      const isOwn = environment.includes(`HOME=${directory}`) || environment.includes(`ATTUNE_API_URL=${url}`);
      if (execution && isOwn) history.add({ kind: "left", pid: Number(name), execution });
    } catch {} // it has ended, or belongs to another user
  }
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const path = join(directory, name);
    try {
      if (statSync(path).isFile() && readFileSync(path).includes(secret)) history.add({ kind: "leak", path });
    } catch {} // a link whose target is gone
  }
}
