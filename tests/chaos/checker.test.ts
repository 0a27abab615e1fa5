import { describe, expect, test } from "vitest";
import type { ExecutionStatus } from "../../src/execution/states.ts";
import { check, type RuleName, ruleNames } from "./checker.ts";
import type { Entry, StoredExecution } from "./history.ts";

type Kind = Entry["kind"];
type Of<K extends Kind> = Extract<Entry, { kind: K }>;

const defaults = {
  enforcement: null,
  waitsFor: null,
  runAt: null,
  retryOf: null,
  retryCount: 0,
  maxRetries: null,
  parent: null,
};
const completing: ExecutionStatus[] = ["requested", "scheduling", "scheduled", "running", "completed"];
const failing: ExecutionStatus[] = ["requested", "scheduling", "scheduled", "running", "failed"];

/** A history in which everything is as it should be: events, retries, a lost worker, a policy with a limit of two, a late result. */
function goodHistory(): Entry[] {
  const history: Entry[] = [
    { kind: "run", at: 0, seed: 1, minutes: 1 },
    { kind: "rule", ref: "default.all", types: ["plain", "again"] },
    { kind: "rule", ref: "default.again", types: ["again"] },
    { kind: "subscribed", at: 1, execution: "9" },
    { kind: "policy", ref: "default.two", action: "chaos.limited", parameters: ["host"], threshold: 2 },
    { kind: "limit", at: -21_000, until: -20_000, policy: "default.two", threshold: 1 },
    { kind: "limit", at: -19_000, until: -18_000, policy: "default.two", threshold: 2 },
    { kind: "fault", at: 2, fault: "kill", target: "worker", ms: 100 },
  ];
  let transition = 0;
  let time = 100;
  const run = (fields: Pick<StoredExecution, "id" | "action"> & Partial<StoredExecution>, path: ExecutionStatus[]) => {
    const execution = {
      ...defaults,
      config: {},
      status: path.at(-1) as ExecutionStatus,
      onWorkerLoss: "requeue",
      ...fields,
    };
    history.push({ kind: "execution", ...execution });
    let attempt = 0;
    for (const [index, to] of path.entries()) {
      transition += 1;
      time += 10;
      if (to === "running") attempt += 1;
      const from = path[index - 1] ?? null;
      const { id } = execution;
      history.push({ kind: "transition", id: String(transition), execution: id, from, to, attempt, at: time });
      history.push({ kind: "seen", at: time, stream: 0, cursor: `0123456789ab.${transition}`, execution: id, to });
      const process = { execution: id, pid: 1000 + transition, ticks: "7" };
      const next = path[index + 1];
      if (to !== "running" || !execution.action.startsWith("chaos.")) continue;
      history.push({ kind: "start", at: time + 1, ...process, alone: true });
      if (next === "scheduled" || next === "timeout") history.push({ kind: "gone", at: time + 5, ...process });
      else history.push({ kind: "end", at: time + 5, ...process, code: next === "completed" ? 0 : 1 });
    }
  };
  for (const [n, type] of ["plain", "again"].entries()) {
    history.push({ kind: "webhook", at: 10, n, type }, { kind: "accepted", at: 11, n, id: String(100 + n) });
    history.push({ kind: "event", id: String(100 + n), n, evaluated: true });
    history.push({ kind: "enforcement", id: String(200 + n), rule: "default.all", event: String(100 + n) });
    run({ id: String(10 + n), action: "core.echo", enforcement: String(200 + n) }, completing);
  }
  history.push({ kind: "enforcement", id: "202", rule: "default.again", event: "101" });
  const lost: ExecutionStatus[] = [
    "requested",
    "scheduling",
    "scheduled",
    "running",
    "scheduled",
    "running",
    "completed",
  ];
  run({ id: "12", action: "chaos.again", enforcement: "202" }, lost);
  for (const [index, key] of ["a", "b", "c"].entries()) {
    history.push({ kind: "execute", at: 20, key, action: "chaos.limited" });
    history.push({ kind: "accepted", at: 21, key, id: String(20 + index) });
    history.push({ kind: "accepted", at: 22, key, id: String(20 + index) });
    run({ id: String(20 + index), action: "chaos.limited", config: { key, host: "one" } }, completing);
  }
  run({ id: "30", action: "chaos.flaky", config: { key: "d" }, maxRetries: 3 }, failing);
  run(
    { id: "31", action: "chaos.flaky", config: { key: "d" }, maxRetries: 3, retryOf: "30", retryCount: 1 },
    completing,
  );
  run({ id: "32", action: "chaos.once", onWorkerLoss: "abandon" }, [...failing.slice(0, 4), "abandoned"]);
  run({ id: "35", action: "chaos.slow" }, [...failing.slice(0, 4), "timeout"]);
  run({ id: "40", action: "chaos.tree", config: { key: "t", children: 2 } }, completing);
  run({ id: "41", action: "chaos.again", config: { key: "t.0" }, parent: "40" }, completing);
  run({ id: "42", action: "chaos.again", config: { key: "t.1" }, parent: "40" }, completing);
  run({ id: "44", action: "core.noop", parent: "43" }, completing);
  run({ id: "43", action: "core.noop" }, [...failing.slice(0, 4), "canceling", "cancelled"]);
  run({ id: "33", action: "core.inquire", waitsFor: "inquiry" }, failing.slice(0, 4));
  run({ id: "34", action: "core.noop", waitsFor: "time", runAt: 1e12 }, ["requested"]);
  history.push(
    { kind: "transition", id: "900", execution: "12", from: "completed", to: "completed", attempt: 1, at: 900 },
    { kind: "group", id: "1", policy: "default.two", active: 0, waiting: 0 },
    { kind: "slot", group: "1", execution: "20", state: "released" },
    { kind: "finished", at: 1000 },
  );
  return history;
}

/** Edits of a history that finds its entries by their kind and a condition. */
function edit(history: Entry[]) {
  const where = <K extends Kind>(kind: K, fields: Partial<Of<K>>) => {
    const found = history.find(
      (entry) =>
        entry.kind === kind && Object.entries(fields).every(([name, value]) => Reflect.get(entry, name) === value),
    );
    if (!found) throw new Error(`there is no ${kind} with ${JSON.stringify(fields)}`);
    return found as Of<K>;
  };
  return {
    change: <K extends Kind>(kind: K, fields: Partial<Of<K>>, to: Partial<Of<K>>) =>
      Object.assign(where(kind, fields), to),
    remove: <K extends Kind>(kind: K, fields: Partial<Of<K>>) =>
      history.splice(history.indexOf(where(kind, fields)), 1),
    repeat: <K extends Kind>(kind: K, fields: Partial<Of<K>>, to: Partial<Of<K>>) =>
      history.push({ ...where(kind, fields), ...to } as Entry),
    /** Exchanges the messages about an execution's first two statuses. */
    exchange: (execution: string) => {
      const [first, second] = [where("seen", { execution }), where("seen", { execution, to: "scheduling" })];
      [first.to, second.to] = [second.to, first.to];
    },
  };
}
type Edit = ReturnType<typeof edit>;

/** For each rule, ways to break it and no other. */
const broken: Record<RuleName, ((history: Edit) => unknown)[]> = {
  "an accepted event is stored once": [
    ({ repeat }) => repeat("accepted", { n: 0 }, { id: "999" }),
    ({ repeat, change }) => [
      repeat("webhook", { n: 0 }, { n: 5 }),
      change("webhook", { n: 5 }, { type: "none" }),
      repeat("event", { n: 0 }, { id: "105", n: 5 }),
      repeat("event", { n: 0 }, { id: "106", n: 5 }),
    ],
  ],
  "an event is evaluated once for each matching rule": [
    ({ change }) => change("event", { n: 0 }, { evaluated: false }),
    ({ change }) => change("enforcement", { id: "202" }, { rule: "default.all" }),
    ({ change }) => change("webhook", { n: 0 }, { type: "again" }),
    ({ change }) => change("webhook", { n: 1 }, { type: "plain" }),
  ],
  "an enforcement has one execution": [
    ({ change }) => change("execution", { id: "10" }, { enforcement: null }),
    ({ change }) => change("execution", { id: "11" }, { enforcement: "200" }),
  ],
  "an idempotency key has one execution": [
    ({ repeat }) => repeat("accepted", { key: "a" }, { id: "21" }),
    ({ change }) => change("execution", { id: "20" }, { config: { key: "b", host: "one" } }),
    ({ repeat }) => [
      repeat("execute", { key: "a" }, { key: "e" }),
      repeat("accepted", { key: "a" }, { key: "e", id: "77" }),
    ],
  ],
  "a status moves as allowed": [
    ({ change }) => [
      change("transition", { execution: "10", to: "scheduled" }, { to: "cancelled" }),
      change("seen", { execution: "10", to: "scheduled" }, { to: "cancelled" }),
    ],
    ({ change }) => change("execution", { id: "10" }, { status: "failed" }),
    ({ change }) => change("transition", { execution: "10", to: "completed" }, { from: "scheduled" }),
  ],
  "attempts increase": [
    ({ change }) => change("transition", { execution: "12", to: "running", attempt: 2 }, { attempt: 1 }),
    ({ change }) => change("transition", { execution: "10", to: "running" }, { attempt: 0 }),
  ],
  "no two processes of an execution overlap": [
    ({ change }) => change("start", { execution: "12" }, { alone: false }),
    ({ change }) => change("gone", { execution: "12" }, { at: 100_000 }),
  ],
  "an attempt starts one process": [
    ({ repeat }) => repeat("start", { execution: "30" }, { pid: 1, at: 50 }),
    ({ repeat }) => repeat("start", { execution: "32" }, { pid: 1, at: 50 }),
  ],
  "what completed has run": [
    ({ change }) => change("end", { execution: "20" }, { code: 1 }),
    ({ remove }) => remove("end", { execution: "20" }),
  ],
  "a group is never above its limit": [
    ({ change }) => [
      change("start", { execution: "20" }, { at: 1 }),
      change("end", { execution: "20" }, { at: 5 }),
      change("start", { execution: "21" }, { at: 2 }),
      change("end", { execution: "21" }, { at: 6 }),
      change("start", { execution: "22" }, { at: 3 }),
      change("end", { execution: "22" }, { at: 7 }),
    ],
    ({ change }) =>
      ["20", "21", "22"].map((execution, index) =>
        change("transition", { execution, to: "completed" }, { id: String(800 + index) }),
      ),
    ({ change }) => [
      change("limit", { threshold: 2 }, { threshold: 1 }),
      change("transition", { execution: "20", to: "completed" }, { id: "800" }),
    ],
  ],
  "a parent that completed has its children": [
    ({ change }) => change("execution", { id: "42" }, { parent: null }),
    ({ change }) => change("execution", { id: "10" }, { parent: "40" }),
    ({ change }) => change("execution", { id: "42" }, { config: { key: "t.0" } }),
  ],
  "a cancelled tree does not go on": [
    ({ change }) => change("execution", { id: "33" }, { parent: "43" }),
    ({ change }) => [
      change("execution", { id: "44" }, { parent: null }),
      change("execution", { id: "34" }, { parent: "43" }),
    ],
  ],
  "what outruns its time-out ends with it": [
    ({ change }) => change("execution", { id: "12" }, { action: "chaos.slow" }),
    ({ repeat }) => repeat("end", { execution: "20" }, { execution: "35", pid: 1 }),
  ],
  "a retry follows its execution once": [
    ({ change }) => change("execution", { id: "31" }, { retryCount: 2 }),
    ({ change }) => change("execution", { id: "31" }, { retryOf: "12" }),
  ],
  "everything ends or waits for a reason": [
    ({ change }) => change("execution", { id: "33" }, { waitsFor: null }),
    ({ change }) => change("execution", { id: "34" }, { runAt: 500 }),
  ],
  "slots are those of executions that hold them": [
    ({ change }) => change("group", { id: "1" }, { active: 1 }),
    ({ change }) => [change("slot", { group: "1" }, { state: "active" }), change("group", { id: "1" }, { active: 1 })],
  ],
  "a resuming subscriber sees each transition once, in order": [
    ({ remove }) => remove("seen", { execution: "11", to: "running" }),
    ({ repeat }) => repeat("seen", { execution: "11", to: "running" }, { cursor: "0123456789ab.990" }),
    ({ repeat }) => repeat("seen", { execution: "11", to: "running" }, {}),
    ({ exchange }) => exchange("11"),
  ],
  "no process is left": [({ repeat }) => repeat("run", {}, { kind: "left", pid: 5, execution: "12" } as never)],
  "no process of Attune ends by itself": [
    ({ repeat }) => repeat("run", {}, { kind: "died", role: "api", code: "1" } as never),
  ],
  "no secret is left on disk": [({ repeat }) => repeat("run", {}, { kind: "leak", path: "/tmp/x" } as never)],
};

describe("the checker of histories", () => {
  test("finds nothing in a history that keeps every rule", () => {
    expect(check(goodHistory())).toEqual([]);
  });

  test("allows what a limit admitted that may still have been in force", () => {
    const history = goodHistory();
    const { change } = edit(history);
    for (const [index, execution] of ["20", "21", "22"].entries()) {
      change("transition", { execution, to: "completed" }, { id: String(800 + index) });
    }
    change("limit", { threshold: 1 }, { threshold: 3 });
    change("limit", { threshold: 2 }, { until: 100 });
    expect(check(history)).toEqual([]);
  });

  for (const rule of ruleNames) {
    test(`finds what breaks only the rule: ${rule}`, () => {
      for (const [index, breakIt] of broken[rule].entries()) {
        const history = goodHistory();
        breakIt(edit(history));
        const found = [...new Set(check(history).map((violation) => violation.rule))];
        expect({ way: index, found }).toEqual({ way: index, found: [rule] });
      }
    });
  }
});
