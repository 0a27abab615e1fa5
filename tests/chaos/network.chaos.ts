import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { overSocket, type Stream } from "../support/client.ts";
import { cloneDatabase, onPostgres } from "../support/database.ts";
import { createProxy, type NetworkProxy } from "../support/proxy.ts";
import { request, type ServerProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const seconds = Number(process.env["ATTUNE_CHAOS_SECONDS"] ?? 600);
const perSecond = 25;
/** How long what ran during the last fault may stay unfinished; the backlog that the faults left takes longer on a slow machine. */
const settleMs = 60_000;
const drainMs = 300_000;

interface Change {
  cursor: string;
  executionId: string;
  toStatus: string;
}

/** The row's id in a global one. */
const rowId = (globalId: string) => Buffer.from(globalId, "base64url").toString().split(":")[1] ?? "";
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const between = (least: number, most: number) => least + Math.random() * (most - least);

// The embedded database has no network.
describe.runIf(onPostgres())("four processes behind a network with faults", () => {
  const directory = mkdtempSync(join(tmpdir(), "attune-chaos-"));
  const effects = join(directory, "effects");
  let proxy: NetworkProxy;
  let direct: postgres.Sql;
  const servers: ServerProcess[] = [];
  let hook = "";

  beforeAll(async () => {
    writeFileSync(effects, "");
    const location = await cloneDatabase("core");
    direct = postgres(location.url ?? "", { max: 2, onnotice: () => {} });
    proxy = await createProxy(location.url ?? "");
    const through = { ...location, url: proxy.url };
    for (const roles of ["api,executor,sensor", "api,executor", "worker", "worker"]) {
      servers.push(await startProcess(through, { ATTUNE__ROLES: roles }));
    }
    const [first] = servers as [ServerProcess];
    const made = await request<{ enableWebhook: { path: string } }>(
      first,
      `mutation ($command: JSONObject!) {
        createTrigger(input: {ref: "default.hook"}) { ... on Error { message } }
        enableWebhook(input: {trigger: "default.hook"}) { ... on EnableWebhookPayload { path } ... on Error { message } }
        createRule(input: {ref: "default.echo", trigger: "default.hook", action: "core.echo",
          actionParams: {message: "{{ event.payload.body.n }}"}}) { ... on Error { message } }
        createFew: createRule(input: {ref: "default.effect", trigger: "default.hook", action: "core.shell", actionParams: $command,
          conditions: [{field: "body.effect", operator: EQUALS, value: true}]}) { ... on Error { message } } }`,
      { command: { command: 'echo "$1" >> "$2"', args: ["{{ event.id }}", effects] } },
    );
    hook = made.enableWebhook.path;
    expect(made).toMatchObject({ createRule: {}, createFew: {} });
    expect(JSON.stringify(made)).not.toContain("message");
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.kill()));
    await proxy?.[Symbol.asyncDispose]();
    await direct?.end();
    rmSync(directory, { recursive: true });
  });

  test(`lose nothing and double nothing in ${seconds} s`, async () => {
    let over = false;
    const accepted = new Map<string, number>();
    const refusals = new Map<string, number>();
    const count = (what: string) => refusals.set(what, (refusals.get(what) ?? 0) + 1);

    const send = async (number: number) => {
      const server = servers[number % 2] as ServerProcess;
      try {
        const response = await fetch(server.url + hook, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ n: String(number), effect: number % perSecond === 0 }),
          signal: AbortSignal.timeout(60_000),
        });
        const body = (await response.json()) as { event?: string };
        if (response.status === 202 && body.event) accepted.set(rowId(body.event), number);
        else count(String(response.status));
      } catch (error) {
        count(error instanceof Error ? error.message : String(error));
      }
    };

    const seen: Change[] = [];
    let resumes = 0;
    const follow = async () => {
      while (!over) {
        const after = seen.at(-1)?.cursor ?? null;
        const stream: Stream<Change> = overSocket(servers[resumes % 2] as ServerProcess, {
          query: `subscription ($after: Cursor) { executionStatus(after: $after) { cursor executionId toStatus } }`,
          variables: { after: after ?? start },
        });
        let read = 0;
        const take = () => {
          seen.push(...stream.seen.slice(read).filter((each) => each !== null)); // null beside the error that ends a stream
          read = stream.seen.length;
        };
        const dropAt = Date.now() + between(5000, 20_000);
        let ended = false;
        void stream.ended.then(() => {
          ended = true;
        });
        while (!ended && !over && Date.now() < dropAt) {
          await pause(50);
          take();
        }
        stream.drop();
        take();
        resumes += 1;
        await pause(200);
      }
    };
    const probe = overSocket<Change>(servers[0] as ServerProcess, {
      query: `subscription { executionStatus { cursor executionId toStatus } }`,
    });
    await request(
      servers[0] as ServerProcess,
      `mutation { executeAction(input: {action: "core.noop"}) { ... on Error { message } } }`,
    );
    await until(() => probe.seen.length > 0, "the first transition");
    const start = probe.seen[0]?.cursor ?? null;
    seen.push(probe.seen[0] as Change);
    probe.drop();
    const following = follow();

    const faults = { cut: 0, delay: 0, silent: 0, refuse: 0 };
    const disturb = async () => {
      const kinds = ["cut", "delay", "silent", "refuse"] as const;
      for (let i = 0; !over; i += 1) {
        const kind = kinds[i % kinds.length] as (typeof kinds)[number];
        faults[kind] += 1;
        if (kind === "cut") {
          for (let cuts = 0; cuts < 10 && !over; cuts += 1) {
            proxy.cut();
            await pause(between(20, 1000));
          }
        } else {
          proxy.become(kind);
          if (kind === "refuse") proxy.cut();
          await pause(between(2000, 10_000));
          proxy.become("pass");
        }
        await pause(between(1000, 5000));
      }
      proxy.become("pass");
    };
    const disturbing = disturb();

    const sending: Promise<void>[] = [];
    const from = Date.now();
    let slowestHealth = 0;
    for (let number = 0; Date.now() - from < seconds * 1000; number += 1) {
      sending.push(send(number));
      if (number % (5 * perSecond) === 0) {
        const probed = performance.now();
        expect((await fetch(`${servers[0]?.url}/healthz`)).status).toBe(200);
        slowestHealth = Math.max(slowestHealth, performance.now() - probed);
      }
      await pause(Math.max(0, from + ((number + 1) * 1000) / perSecond - Date.now()));
    }
    // The faults end before the last responses: a webhook sent into a silence gets its refusal when its statement's time is over.
    over = true;
    await disturbing;
    const lastFault = Date.now();
    await Promise.all(sending);

    const unfinished = async () => {
      const [row] = await direct`select
        (select count(*)::int from attune.event where evaluated_at is null) as events,
        (select count(*)::int from attune.execution where status not in ('completed', 'failed', 'timeout', 'cancelled', 'abandoned')) as executions,
        (select string_agg(distinct status::text || ' by ' || coalesce(worker::text, '-'), ', ') from attune.execution
          where status not in ('completed', 'failed', 'timeout', 'cancelled', 'abandoned')) as which,
        (select count(*)::int from attune.execution where status in ('running', 'canceling')
          and started_at < now() - make_interval(secs => ${(Date.now() - lastFault) / 1000})) as zombies`;
      return row as { events: number; executions: number; which: string | null; zombies: number };
    };
    let left = await unfinished();
    while (left.zombies > 0 && Date.now() - lastFault < settleMs) {
      await pause(200);
      left = await unfinished();
    }
    const settled = Date.now() - lastFault;
    expect(left.zombies).toBe(0);
    while (left.events + left.executions > 0 && Date.now() - lastFault < drainMs) {
      await pause(200);
      left = await unfinished();
    }
    const drained = Date.now() - lastFault;
    const [stored] =
      (await direct`select count(*)::int as events from attune.event where trigger_ref = 'default.hook'`) as unknown as [
        { events: number },
      ];
    console.log(
      JSON.stringify({
        seconds,
        faults,
        resumes,
        accepted: accepted.size,
        stored: stored.events,
        settled,
        drained,
        slowestHealth,
        refusals: [...refusals],
      }),
    );
    if (left.executions > 0) console.log(left.which, ...servers.slice(2).map((server) => server.output().slice(-6000)));
    expect(left).toMatchObject({ events: 0, executions: 0 });
    expect(servers.map(({ child }) => child.exitCode ?? child.signalCode)).toEqual([null, null, null, null]);
    expect(accepted.size).toBeGreaterThan(0);

    // Nothing is lost: each accepted event is there, with what its number asks for.
    const rows =
      await direct`select e.id::text, (e.payload -> 'body' ->> 'n')::int as number, count(distinct f.id)::int as enforcements,
        count(x.id)::int as executions, (count(x.id) filter (where x.status = 'completed'))::int as completed
      from attune.event e left join attune.enforcement f on f.event = e.id left join attune.execution x on x.enforcement = f.id
      where e.trigger_ref = 'default.hook' group by e.id`;
    const wrong = rows.filter(({ number, enforcements, executions, completed }) => {
      const expected = number % perSecond === 0 ? 2 : 1;
      return [enforcements, executions, completed].some((value) => value !== expected);
    });
    expect(wrong).toEqual([]);
    const found = new Set(rows.map(({ id }) => id));
    expect([...accepted.keys()].filter((id) => !found.has(id))).toEqual([]);
    // Nothing is doubled: each request made at most one event, and each action ran once.
    expect(new Set(rows.map(({ number }) => number)).size).toBe(rows.length);
    const ran = readFileSync(effects, "utf8").trim().split("\n").map(rowId);
    const effective = rows.filter(({ number }) => number % perSecond === 0).map(({ id }) => id);
    expect(ran.sort()).toEqual(effective.sort());

    // A resuming subscriber saw each transition once, those of an execution in their order.
    await following;
    over = false;
    const finishing = follow();
    const [logged] = (await direct`select count(*)::int as entries from attune.notification where channel = 'execution'
      and id > (select min(id) from attune.notification where channel = 'execution')`) as unknown as [
      { entries: number },
    ];
    await until(
      () => new Set(seen.map(({ cursor }) => cursor)).size >= logged.entries,
      "the last transitions",
      60_000,
    ).catch(() => {});
    over = true;
    await finishing;
    expect(new Set(seen.map(({ cursor }) => cursor)).size).toBe(seen.length);
    const [transitions] =
      (await direct`select sum(case when status = 'completed' then 5 else 0 end)::int as all from attune.execution`) as unknown as [
        { all: number },
      ];
    expect(seen.filter(({ toStatus }) => toStatus === "COMPLETED").length).toBe(transitions.all / 5);

    const [open] = (await direct`select count(*)::int as sessions from pg_stat_activity
      where datname = current_database() and state like 'idle in transaction%' and state_change < now() - interval '60 seconds'`) as unknown as [
      { sessions: number },
    ];
    expect(open.sessions).toBe(0);
  });
});
