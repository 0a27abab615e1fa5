import { createClient } from "graphql-ws";
import { WebSocket } from "ws";
import { issueApiToken } from "../src/access/token.ts";
import { write } from "../src/db/tx.ts";
import { findAction, type RunnableAction } from "../src/execution/action.ts";
import { claimExecutions } from "../src/execution/claim.ts";
import { requestExecutions } from "../src/execution/execute.ts";
import { finishExecutions } from "../src/execution/finish.ts";
import { type Registration, registerWorker } from "../src/worker/registry.ts";
import { startApiProcess } from "./api.ts";
import type { BenchDatabase } from "./database.ts";
import type { Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

/** The measurements for one number of subscribers. Times are milliseconds from commit to client. */
export interface FeedResult {
  subscribers: number;
  /** Executions, of five changes each. */
  perSecond: number;
  changes: number;
  messages: number;
  p50: number;
  p99: number;
  max: number;
  /** Statements that the server ran from the first change to the last delivery. */
  statements: number;
  /** The server's memory at the end, in MiB. */
  rss: number;
}

const deadlineMs = 60_000;

/** One socket with one subscription, and the messages that it received with their times. */
interface Subscriber {
  received: { key: string; at: number }[];
  failed: unknown;
  close(): Promise<void>;
}

interface StatusMessage {
  executionStatus: { executionId: string; toStatus: string } | null;
}

function subscribe(url: string, token: string): Subscriber {
  const client = createClient({
    url: `${url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  const subscriber: Subscriber = { received: [], failed: null, close: async () => await client.dispose() };
  client.subscribe<StatusMessage>(
    { query: "subscription { executionStatus { executionId toStatus } }" },
    {
      next: ({ data, errors }) => {
        const at = performance.now();
        if (!data?.executionStatus) subscriber.failed ??= errors ?? "a message without data";
        else subscriber.received.push({ key: keyOf(data.executionStatus), at });
      },
      error: (error) => {
        subscriber.failed ??= error;
      },
      complete: () => {},
    },
  );
  return subscriber;
}

/** The execution's id and the status; the writer derives the same key of each change. */
function keyOf({ executionId, toStatus }: { executionId: string; toStatus: string }): string {
  return `${Buffer.from(executionId, "base64").toString().split(":").at(-1)} ${toStatus.toLowerCase()}`;
}

/** Acts as executor and worker: moves one execution through its five statuses, in three transactions. */
function createWriter({ services, session }: Stage, action: RunnableAction, worker: Registration) {
  const committed: { key: string; at: number }[] = [];
  const record = (id: string, statuses: readonly string[]) => {
    const at = performance.now();
    for (const status of statuses) committed.push({ key: `${id} ${status}`, at });
  };
  return {
    committed,
    runOne: async () => {
      const [id = ""] = await write(services, (tx) =>
        requestExecutions(tx, [
          {
            action,
            config: {},
            enforcement: null,
            executor: String(session.identityId),
            ruleRef: null,
            triggerRef: null,
            traceTag: null,
            generation: 0,
            timeoutSeconds: null,
            priority: 0,
          },
        ]),
      );
      record(id, ["requested", "scheduling", "scheduled"]);
      await write(services, (tx) => claimExecutions(tx, worker, { runtimeRef: action.runtimeRef ?? "", limit: 1 }));
      record(id, ["running"]);
      await write(services, (tx) =>
        finishExecutions(tx, [{ id, attempt: 1, status: "completed", result: null, error: null, reason: null }]),
      );
      record(id, ["completed"]);
    },
  };
}

/**
 * Measures the latency of one subscription with that many subscribers, each on its own socket: executions at a steady rate, from the
 * return of each commit to the client. Throws unless each subscriber gets every change once and in order.
 */
export async function measureFeed(
  database: BenchDatabase,
  stage: Stage,
  load: { subscribers: number; perSecond: number; seconds: number },
): Promise<FeedResult> {
  const { services, session } = stage;
  const token = await write(services, (tx) => issueApiToken(tx, String(session.identityId), "bench"));
  const action = await findAction(services.db, "core.noop");
  if (!action) throw new Error("there is no action core.noop");
  const worker = await registerWorker(services, { runtimes: [], slots: 1, runtimeSlots: new Map(), labels: {} });
  await using server = await startApiProcess(database, { logStatements: true });
  const writer = createWriter(stage, action, worker);
  const subscribers = Array.from({ length: load.subscribers }, () => subscribe(server.url, token));
  try {
    // Only its first message shows a client that its subscription has begun. The writer keeps the pace of the measurement: at full
    // speed it would take the cores from the sockets that are still being opened.
    await until(async () => {
      await writer.runOne();
      await pause(1000 / load.perSecond);
      return subscribers.every(({ received }) => received.length > 0);
    }, subscribers);
    await allReceived(writer.committed.at(-1)?.key ?? "", subscribers);
    for (const { received } of subscribers) received.length = 0;
    writer.committed.length = 0;

    const before = server.statements();
    const started = performance.now();
    for (let number = 0; number < load.perSecond * load.seconds; number += 1) {
      const due = started + (number * 1000) / load.perSecond;
      await pause(due - performance.now());
      await writer.runOne();
    }
    await allReceived(writer.committed.at(-1)?.key ?? "", subscribers);
    await pause(200); // the log lines of the last statements arrive late
    const statements = server.statements() - before;
    return { ...compare(writer.committed, subscribers), perSecond: load.perSecond, statements, rss: server.rss() };
  } finally {
    for (const { close } of subscribers) await close();
  }
}

function compare(
  committed: readonly { key: string; at: number }[],
  subscribers: readonly Subscriber[],
): Omit<FeedResult, "statements" | "perSecond" | "rss"> {
  const expected = committed.map(({ key }) => key).join("\n");
  const latencies: number[] = [];
  for (const [number, { received }] of subscribers.entries()) {
    if (received.map(({ key }) => key).join("\n") !== expected) {
      throw new Error(
        `subscriber ${number} received ${received.length} of ${committed.length} changes, or out of order`,
      );
    }
    for (const [index, { at }] of received.entries()) latencies.push(at - (committed[index]?.at ?? 0));
  }
  return {
    subscribers: subscribers.length,
    changes: committed.length,
    messages: latencies.length,
    p50: percentile(latencies, 50),
    p99: percentile(latencies, 99),
    max: percentile(latencies, 100),
  };
}

async function allReceived(key: string, subscribers: readonly Subscriber[]): Promise<void> {
  await until(async () => {
    await pause(10);
    return subscribers.every(({ received }) => received.at(-1)?.key === key);
  }, subscribers);
}

async function until(done: () => Promise<boolean>, subscribers: readonly Subscriber[]): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await done())) {
    const broken = subscribers.find(({ failed }) => failed !== null);
    if (broken) throw new Error("a subscription failed", { cause: broken.failed });
    if (performance.now() < deadline) continue;
    const counts = subscribers.map(({ received }) => received.length);
    throw new Error(
      `not all messages arrived in ${deadlineMs / 1000} s: subscribers have from ${Math.min(...counts)} to ${Math.max(...counts)}`,
    );
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
