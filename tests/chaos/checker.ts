import { admitted, isTerminal, moves } from "../../src/execution/states.ts";
import type { Entry, StoredExecution, StoredTransition } from "./history.ts";

type Of<K extends Entry["kind"]> = Extract<Entry, { kind: K }>;

/** A rule that a history breaks, and where. */
export interface Violation {
  rule: RuleName;
  what: string;
}

/** The parts of a history that several rules need. */
interface Facts {
  all: <K extends Entry["kind"]>(kind: K) => Of<K>[];
  executions: Map<string, StoredExecution>;
  /** The changes of each execution's status, in the order in which they were stored; without notes of late results. */
  changes: Map<string, StoredTransition[]>;
  processes: Process[];
}

/** A process of an action: at least from its start to its end it was alive. */
interface Process {
  execution: string;
  from: number;
  to: number;
  alone: boolean;
  code: number | null;
}

const rules = {
  "an accepted event is stored once": acceptedEvents,
  "an event is evaluated once for each matching rule": evaluations,
  "an enforcement has one execution": enforcements,
  "an idempotency key has one execution": keys,
  "a status moves as allowed": legalMoves,
  "attempts increase": attempts,
  "no two processes of an execution overlap": overlaps,
  "an attempt starts one process": starts,
  "what completed has run": completions,
  "a group is never above its limit": limits,
  "a retry follows its execution once": retries,
  "a parent that completed has its children": children,
  "a cancelled tree does not go on": cancelledTrees,
  "what outruns its time-out ends with it": timeouts,
  "everything ends or waits for a reason": drained,
  "slots are those of executions that hold them": slots,
  "a resuming subscriber sees each transition once, in order": subscriptions,
  "no process is left": ({ all }: Facts) => all("left").map(({ pid, execution }) => `process ${pid} of ${execution}`),
  "no secret is left on disk": ({ all }: Facts) => all("leak").map(({ path }) => path),
  "no process of Attune ends by itself": ({ all }: Facts) => all("died").map(({ role, code }) => `${role}: ${code}`),
} satisfies Record<string, (facts: Facts) => string[]>;
export type RuleName = keyof typeof rules;
export const ruleNames = Object.keys(rules) as RuleName[];

/** Returns every violation of a rule in the history; an empty list proves that it keeps them all. */
export function check(history: readonly Entry[]): Violation[] {
  const facts = gather(history);
  return ruleNames.flatMap((rule) => rules[rule](facts).map((what) => ({ rule, what })));
}

function gather(history: readonly Entry[]): Facts {
  const kinds = Map.groupBy(history, ({ kind }) => kind);
  const all = <K extends Entry["kind"]>(kind: K) => (kinds.get(kind) ?? []) as Of<K>[];
  const changed = all("transition")
    .filter(({ from, to }) => from !== to)
    .sort((a, b) => byNumber(a.id, b.id));
  const nameOf = ({ pid, ticks }: { pid: number; ticks: string }) => `${pid}/${ticks}`;
  const ends = new Map([...all("gone"), ...all("end")].map((end) => [nameOf(end), end]));
  return {
    all,
    executions: new Map(all("execution").map((each) => [each.id, each])),
    changes: Map.groupBy(changed, ({ execution }) => execution),
    processes: all("start").map((start) => {
      const end = ends.get(nameOf(start));
      const code = end?.kind === "end" ? end.code : null;
      return { execution: start.execution, from: start.at, to: end?.at ?? start.at, alone: start.alone, code };
    }),
  };
}

const byNumber = (a: string, b: string) => Number(BigInt(a) - BigInt(b));
const times = (count: number) => `${count} times`;

function acceptedEvents({ all }: Facts): string[] {
  const stored = Map.groupBy(all("event"), ({ n }) => n);
  const lost = all("accepted").flatMap(({ n, id }) => {
    if (n === undefined) return [];
    return stored.get(n)?.some((event) => event.id === id) ? [] : [`webhook ${n}: its event ${id} is not stored`];
  });
  const doubled = [...stored].flatMap(([n, events]) =>
    n !== null && events.length > 1 ? [`webhook ${n} is stored ${times(events.length)}`] : [],
  );
  return [...lost, ...doubled];
}

function evaluations({ all }: Facts): string[] {
  const types = new Map(all("webhook").map(({ n, type }) => [n, type]));
  const found = Map.groupBy(all("enforcement"), ({ event }) => event);
  return all("event").flatMap(({ id, n, evaluated }) => {
    if (n === null) return [];
    if (!evaluated) return [`event ${id} is not evaluated`];
    const type = types.get(n) ?? "";
    const expected = all("rule").filter((rule) => rule.types.includes(type));
    const matched = (found.get(id) ?? []).map(({ rule }) => rule);
    const [is, ought] = [matched, expected.map(({ ref }) => ref)].map((refs) => refs.sort().join(", "));
    return is === ought ? [] : [`event ${id} of type ${type} has the enforcements [${is}] instead of [${ought}]`];
  });
}

function enforcements({ all }: Facts): string[] {
  const first = all("execution").filter(({ retryCount }) => retryCount === 0);
  const found = Map.groupBy(first, ({ enforcement }) => enforcement);
  return all("enforcement").flatMap(({ id }) => {
    const count = found.get(id)?.length ?? 0;
    return count === 1 ? [] : [`enforcement ${id} was executed ${times(count)}`];
  });
}

function keys({ all }: Facts): string[] {
  const first = all("execution").filter(({ retryCount, enforcement }) => retryCount === 0 && enforcement === null);
  const stored = Map.groupBy(first, ({ config }) => config["key"]);
  const accepted = Map.groupBy(all("accepted"), ({ key }) => key);
  return all("execute").flatMap(({ key }) => {
    const ids = (stored.get(key) ?? []).map(({ id }) => id);
    const returned = new Set((accepted.get(key) ?? []).map(({ id }) => id));
    const isRight = ids.length <= 1 && [...returned].every((id) => id === ids[0]);
    return isRight ? [] : [`key ${key} returned [${[...returned]}] and has the executions [${ids}]`];
  });
}

function legalMoves({ executions, changes }: Facts): string[] {
  const wrong: string[] = [];
  for (const { id, status } of executions.values()) {
    let at: StoredTransition["from"] = null;
    for (const { from, to } of changes.get(id) ?? []) {
      const allowed: readonly string[] = at === null ? ["requested"] : moves[at];
      if (from !== at || !allowed.includes(to)) wrong.push(`execution ${id}: ${from} to ${to} when it was ${at}`);
      at = to;
    }
    if (at !== status) wrong.push(`execution ${id} is ${status}, its last transition was to ${at}`);
  }
  return wrong;
}

function attempts({ changes }: Facts): string[] {
  return [...changes].flatMap(([id, found]) => {
    const claimed = found.filter(({ to }) => to === "running").map(({ attempt }) => attempt);
    return claimed.every((attempt, index) => attempt === index + 1) ? [] : [`execution ${id}: attempts ${claimed}`];
  });
}

function overlaps({ processes }: Facts): string[] {
  return [...Map.groupBy(processes, ({ execution }) => execution)].flatMap(([id, own]) => {
    own.sort((a, b) => a.from - b.from);
    return own.flatMap((each, index) => {
      const before = own.slice(0, index).some(({ to }) => to > each.from);
      return each.alone && !before ? [] : [`execution ${id}: a process started at ${each.from} beside another one`];
    });
  });
}

function starts({ executions, changes, processes }: Facts): string[] {
  return [...Map.groupBy(processes, ({ execution }) => execution)].flatMap(([id, own]) => {
    const claims = (changes.get(id) ?? []).filter(({ to }) => to === "running").length;
    const most = executions.get(id)?.onWorkerLoss === "abandon" ? Math.min(claims, 1) : claims;
    return own.length <= most ? [] : [`execution ${id} started ${own.length} processes where ${most} were due`];
  });
}

function completions({ executions, processes }: Facts): string[] {
  const succeeded = new Set(processes.filter(({ code }) => code === 0).map(({ execution }) => execution));
  return [...executions.values()].flatMap(({ id, action, status }) =>
    action.startsWith("chaos.") && status === "completed" && !succeeded.has(id)
      ? [`execution ${id} is completed, and no process of it succeeded`]
      : [],
  );
}

function limits({ all, executions, changes, processes }: Facts): string[] {
  return all("policy").flatMap(({ ref, action, parameters, threshold }) => {
    const edits = all("limit").filter(({ policy }) => policy === ref);
    const highest = [threshold, ...edits.map((edit) => edit.threshold ?? Number.POSITIVE_INFINITY)];
    const groups = Map.groupBy(
      [...executions.values()].filter((each) => each.action === action),
      ({ config }) => JSON.stringify(parameters.map((path) => config[path] ?? null)),
    );
    return [...groups].flatMap(([key, members]) => {
      const ids = new Set(members.map(({ id }) => id));
      const admissions = members.flatMap(({ id }) => admissionsOf(changes.get(id) ?? []));
      const lives = processes
        .filter(({ execution }) => ids.has(execution))
        .flatMap(({ from, to }) => [
          { order: BigInt(from), at: from, step: 1 },
          { order: BigInt(to), at: to, step: -1 },
        ]);
      // What was admitted below a higher limit may still run below a lower one.
      const [atOnce, alive] = [
        above(admissions, (at) => highestLimit(threshold, edits, at)),
        above(lives, () => Math.max(...highest)),
      ];
      return [
        ...(atOnce ? [`${ref} ${key}: ${atOnce.count} admitted at a limit of ${atOnce.limit}, at ${atOnce.at}`] : []),
        ...(alive ? [`${ref} ${key}: ${alive.count} processes at a limit of ${alive.limit}, at ${alive.at}`] : []),
      ];
    });
  });
}

type Step = { order: bigint; at: number; step: number };

/** When an execution was admitted and when no longer, by the ids of its transitions: those of one group have the order of their commits. */
function admissionsOf(changes: readonly StoredTransition[]): Step[] {
  const holds = (status: StoredTransition["from"]) => admitted.some((each) => each === status);
  return changes
    .filter(({ from, to }) => holds(from) !== holds(to))
    .map(({ id, to, at }) => ({ order: BigInt(id), at, step: holds(to) ? 1 : -1 }));
}

/** How long a transaction may be open that has read a limit and not yet written what it admits, in milliseconds. */
const openMs = 16_000;

/** The highest limit that may have been in force for what was admitted at this time. */
function highestLimit(first: number, edits: readonly Of<"limit">[], at: number): number {
  const over = edits.filter(({ until }) => until + openMs < at);
  const possible = edits.filter((edit) => edit.at <= at && edit.until + openMs >= at);
  const limits = [
    over.length === 0 ? first : (over.at(-1)?.threshold ?? null),
    ...possible.map((edit) => edit.threshold),
  ];
  return Math.max(...limits.map((limit) => limit ?? Number.POSITIVE_INFINITY));
}

/** The first step to a number above the limit of its time; what ends at a place in the order ends before what begins there. */
function above(steps: Step[], limitAt: (at: number) => number): { count: number; limit: number; at: number } | null {
  let count = 0;
  for (const { step, at } of steps.toSorted((a, b) => Number(a.order - b.order) || a.step - b.step)) {
    count += step;
    const limit = limitAt(at);
    if (step > 0 && count > limit) return { count, limit, at };
  }
  return null;
}

function children({ executions }: Facts): string[] {
  const below = Map.groupBy(executions.values(), ({ parent }) => parent);
  return [...executions.values()].flatMap(({ id, action, status, config }) => {
    if (action !== "chaos.tree" || status !== "completed") return [];
    const due = Array.from({ length: Number(config["children"]) }, (_, index) => `${config["key"]}.${index}`);
    const found = (below.get(id) ?? []).map((child) => String(child.config["key"])).sort();
    return found.join() === due.join() ? [] : [`execution ${id} has the children [${found}] instead of [${due}]`];
  });
}

/** Cancelling locks the tree: afterwards nothing in it is created, scheduled or claimed. */
function cancelledTrees({ executions, changes }: Facts): string[] {
  const cancels = ["canceling", "cancelled"];
  const cancelOf = (id: string) => changes.get(id)?.find(({ to }) => cancels.includes(to));
  return [...executions.values()].flatMap(({ id, parent }) => {
    const wrong: string[] = [];
    for (let above = parent; above !== null; above = executions.get(above)?.parent ?? null) {
      const cancel = cancelOf(above);
      const later = (changes.get(id) ?? []).filter(({ id: each }) => cancel && byNumber(each, cancel.id) > 0);
      const on = later.find(({ to }) => !isTerminal(to) && !cancels.includes(to));
      if (on) wrong.push(`execution ${id} went to ${on.to} after ${above} above it was cancelled`);
    }
    return wrong;
  });
}

function timeouts({ all, executions }: Facts): string[] {
  const ended = new Set(all("end").map(({ execution }) => execution));
  return [...executions.values()].flatMap(({ id, action, status }) => {
    if (action !== "chaos.slow") return [];
    const isRight = ["timeout", "cancelled"].includes(status) && !ended.has(id);
    return isRight ? [] : [`execution ${id} is ${status}${ended.has(id) ? ", and its process ended by itself" : ""}`];
  });
}

function retries({ all }: Facts): string[] {
  const executions = all("execution");
  const following = Map.groupBy(executions, ({ retryOf }) => retryOf);
  return executions.flatMap(({ id, status, retryCount, maxRetries }) => {
    const next = following.get(id) ?? [];
    const due = status === "failed" && retryCount < (maxRetries ?? 0) ? 1 : 0;
    const isRight = next.length >= due && next.length <= 1 && next.every((each) => each.retryCount === retryCount + 1);
    return isRight ? [] : [`execution ${id} (${status}, retry ${retryCount}) has ${next.length} retries`];
  });
}

function drained({ all, executions }: Facts): string[] {
  const finished = all("finished")[0]?.at ?? 0;
  return [...executions.values()].flatMap(({ id, status, waitsFor, runAt }) => {
    const isDue = runAt === null || runAt < finished;
    const waits = (status === "running" && waitsFor === "inquiry") || (waitsFor === "time" && !isDue);
    return isTerminal(status) || waits ? [] : [`execution ${id} is ${status}, waiting for ${waitsFor}`];
  });
}

function slots({ all, executions }: Facts): string[] {
  const held = Map.groupBy(all("slot"), ({ group }) => group);
  const stale = all("slot").flatMap(({ execution, state }) => {
    const status = executions.get(execution)?.status;
    const isOver = state !== "released" && (status === undefined || isTerminal(status));
    return isOver ? [`execution ${execution} is ${status} and has a slot that is ${state}`] : [];
  });
  const wrong = all("group").flatMap(({ id, policy, ...counted }) => {
    const count = (state: string) => (held.get(id) ?? []).filter((slot) => slot.state === state).length;
    const isRight = counted.active === count("active") && counted.waiting === count("waiting");
    return isRight ? [] : [`group ${id} of ${policy} counts ${counted.active} active and ${counted.waiting} waiting`];
  });
  return [...stale, ...wrong];
}

function subscriptions({ all, changes }: Facts): string[] {
  const after = all("subscribed")[0]?.execution;
  if (after === undefined) return [];
  const place = ({ cursor }: { cursor: string }) => BigInt(cursor.slice(cursor.lastIndexOf(".") + 1));
  const seen = all("seen");
  const back = seen.flatMap((each, index) => {
    const before = seen[index - 1];
    return before && place(before) >= place(each) ? [`${each.cursor} came after ${before.cursor}`] : [];
  });
  const received = Map.groupBy(seen, ({ execution }) => execution);
  const ids = new Set([...changes.keys(), ...received.keys()].filter((id) => byNumber(id, after) > 0));
  const wrong = [...ids].flatMap((id) => {
    const [stored, got] = [changes.get(id) ?? [], received.get(id) ?? []].map((each) =>
      each.map(({ to }) => to).join(", "),
    );
    return stored === got ? [] : [`execution ${id}: seen [${got}] of [${stored}]`];
  });
  return [...back, ...wrong];
}
