import { type SQL, sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../src/access/grants.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { createSessions, type Sessions } from "../../src/access/sessions.ts";
import { rows } from "../../src/db/client.ts";
import { createGraphQL } from "../../src/graphql/transport/server.ts";
import { createFeed, type Feed } from "../../src/notifier/feed.ts";
import { createServices, type TestServices, withoutFeed } from "../support/database.ts";

// biome-ignore lint/suspicious/noExplicitAny: responses have the shape of their documents
type Result = { data: any; errors?: { message: string; extensions: { code: string } }[] };

let services: TestServices;
let feed: Feed;
let sessions: Sessions;
let yoga: ReturnType<typeof createGraphQL>;
let session: Session = openSession("1");

async function ask(query: string, variables: object = {}): Promise<Result & { statements: string[] }> {
  services.statements.length = 0;
  const response = await yoga.fetch("http://localhost/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const result = (await response.json()) as Result;
  return { ...result, statements: withoutFeed(services.statements) };
}

/** Runs a document as a session that may read these resources only in the pack `open`. */
async function askNarrowed(query: string, variables: object = {}, resources = ["event", "enforcement", "execution"]) {
  const grants: Grant[] = resources.map((resource) => ({
    resource,
    actions: ["read"],
    constraints: { pack_refs: ["open"] },
  }));
  session = { ...openSession("1"), grants };
  try {
    return await ask(query, variables);
  } finally {
    session = openSession("1");
  }
}

type Kind = "Event" | "Enforcement" | "Execution";

/** A step of a trace as inserted, to compare responses with. */
interface Step {
  id: string;
  kind: Kind;
  number: number;
  open: boolean;
  cause: Step | null;
  effects: Step[];
}

let inserted = 0;
const all: Step[] = [];

async function add(kind: Kind, cause: Step | null, options: { tag: string; open?: boolean }): Promise<Step> {
  const open = options.open ?? true;
  const pack = open ? "open" : "shut";
  const causeId = cause === null ? null : String(cause.number);
  inserted += 1;
  const at = sql`timestamptz '2026-01-01' + make_interval(secs => ${inserted}::int)`;
  const inserts: Record<Kind, () => SQL> = {
    Event: () => sql`insert into attune.event (trigger_ref, trace_tag, cause_execution, created)
      values (${`${pack}.t`}, ${options.tag}, ${causeId}::bigint, ${at}) returning id::text`,
    Enforcement: () => sql`insert into attune.enforcement (rule_ref, trigger_ref, event, created)
      values (${`${pack}.r`}, 'open.t', ${causeId}::bigint, ${at}) returning id::text`,
    Execution:
      () => sql`insert into attune.execution (action_ref, enforcement, parent, root, depth, trace_tag, on_worker_loss, created)
      select ${`${pack}.a`}, case when p.id is null then ${causeId}::bigint end, p.id, coalesce(p.root, p.id), coalesce(p.depth + 1, 0),
        ${options.tag}, 'abandon', ${at}
      from (select) s left join attune.execution p on p.id = ${cause?.kind === "Execution" ? causeId : null}::bigint
      returning id::text`,
  };
  const [row] = await rows<{ id: string }>(services.db, inserts[kind]());
  const number = Number(row?.id);
  const step: Step = { id: btoa(`${kind}:${number}`), kind, number, open, cause, effects: [] };
  cause?.effects.push(step);
  all.push(step);
  return step;
}

/** Returns a generator of pseudorandom numbers, the same in each run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * below);
  };
}

const kindsAfter: Record<Kind, Kind[]> = {
  Event: ["Enforcement"],
  Enforcement: ["Execution"],
  Execution: ["Execution", "Event"],
};

/** Inserts two trees with 120 steps under one tag, some of them in the pack `shut`. */
async function insertTrees(): Promise<void> {
  const random = createRandom(7);
  const steps = [await add("Event", null, { tag: "trees" }), await add("Execution", null, { tag: "trees" })];
  while (steps.length < 120) {
    const cause = steps[random(steps.length)] as Step;
    if (cause.kind === "Enforcement" && cause.effects.length > 0) continue; // one execution per enforcement
    const kinds = kindsAfter[cause.kind];
    steps.push(await add(kinds[random(kinds.length)] as Kind, cause, { tag: "trees", open: random(3) > 0 }));
  }
}

const rounds = 33;
let first: Step;
let last: Step;

async function insertChain(): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    const event = await add("Event", last ?? null, { tag: "chain" });
    first ??= event;
    last = await add("Execution", await add("Enforcement", event, { tag: "chain" }), { tag: "chain" });
  }
}

beforeAll(async () => {
  services = await createServices();
  await services.db.execute(sql`insert into attune.identity (login) values ('reader')`);
  await insertTrees();
  await insertChain();
  feed = await createFeed(services);
  sessions = createSessions(services.db, services.log);
  yoga = createGraphQL({ services, feed, sessions, authenticate: async () => session });
});

afterAll(async () => {
  await sessions[Symbol.asyncDispose]();
  await feed[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
});

const trees = () => all.filter((step) => rootOf(step) !== first);
const rootOf = (step: Step): Step => (step.cause ? rootOf(step.cause) : step);
const causesOf = (step: Step): Step[] => (step.cause ? [step.cause, ...causesOf(step.cause)] : []);

/** Returns the effects level by level, each level by kind and number. */
function effectsOf(step: Step, depth: number): Step[] {
  const order = (a: Step, b: Step) => (a.kind === b.kind ? a.number - b.number : a.kind < b.kind ? -1 : 1);
  const levels: Step[][] = [];
  for (let level = step.effects; level.length > 0 && levels.length < depth; level = level.flatMap((s) => s.effects)) {
    levels.push(level.toSorted(order));
  }
  return levels.flat();
}

const idsOf = (list: readonly { id: string }[]) => list.map(({ id }) => id);
const step = "... on Node { id }";
const both = "causes(first: 30) { ... on Node { id } } effects(first: 100, maxDepth: $depth) { ... on Node { id } }";
const everyStep = `query($ids: [ID!]!, $depth: Int) { nodes(ids: $ids) { id ... on Event { ${both} } ... on Enforcement { ${both} } ... on Execution { ${both} } } }`;

interface Links {
  id: string;
  causes: { id: string }[];
  effects: { id: string }[];
}

describe("causes and effects", () => {
  test("are the path to the first cause and everything that followed, for each step of two trees", async () => {
    for (const depth of [20, 2]) {
      for (const part of [0, 1, 2, 3].map((quarter) => trees().slice(30 * quarter, 30 * (quarter + 1)))) {
        const { data, errors, statements } = await ask(everyStep, { ids: idsOf(part), depth });
        expect(errors).toBeUndefined();
        for (const [index, node] of (data.nodes as Links[]).entries()) {
          const expected = part[index] as Step;
          expect(idsOf(node.causes)).toEqual(idsOf(causesOf(expected)));
          expect(idsOf(node.effects)).toEqual(idsOf(effectsOf(expected, depth)));
        }
        // Three for the steps; for each of their types one walk back, one walk onward, and three for the objects found by each.
        expect(statements.length).toBeLessThanOrEqual(3 + 3 * (2 + 6));
      }
    }
  });

  test("of one step take at most three statements for the objects, whatever their number", async () => {
    const root = trees()[0] as Step;
    const query = `query($id: ID!, $n: Int) { event(id: $id) { effects(first: $n) { ${step} ... on Event { triggerRef trigger { ref } }
      ... on Enforcement { ruleRef } ... on Execution { actionRef action { ref } } } } }`;
    const some = await ask(query, { id: root.id, n: 12 });
    const many = await ask(query, { id: root.id, n: 200 });
    expect(many.errors).toBeUndefined();
    expect(many.data.event.effects.length).toBe(effectsOf(root, 20).length);
    expect(some.data.event.effects).toHaveLength(12);
    expect(many.statements.length).toBe(1 + 1 + 3);
    expect(some.statements.length).toBeLessThanOrEqual(many.statements.length);
    const levelOf = (id: string) => causesOf(all.find((each) => each.id === id) as Step).indexOf(root);
    const levels = (list: { id: string }[]) => list.map(({ id }) => levelOf(id));
    expect(levels(some.data.event.effects)).toEqual(levels(many.data.event.effects.slice(0, 12))); // the nearest
  });

  test("show only readable steps, also beyond unreadable ones", async () => {
    const open = trees().filter((each) => each.open && causesOf(each).length > 1);
    const { data } = await askNarrowed(everyStep, { ids: idsOf(open.slice(0, 30)), depth: 20 });
    const readable = (list: Step[]) => idsOf(list.filter((each) => each.open));
    const nodes = data.nodes as Links[];
    expect(nodes.map(({ causes }) => idsOf(causes))).toEqual(open.slice(0, 30).map((each) => readable(causesOf(each))));
    expect(nodes.map(({ effects }) => idsOf(effects))).toEqual(
      open.slice(0, 30).map((each) => readable(effectsOf(each, 20))),
    );
    const gaps = open.slice(0, 30).filter((each) => causesOf(each).some((cause) => !cause.open));
    expect(gaps.length).toBeGreaterThan(5); // otherwise nothing was tested
    const executions = await askNarrowed(everyStep, { ids: idsOf(open.slice(0, 30)), depth: 20 }, ["execution"]);
    expect(JSON.stringify(executions.data)).not.toContain(btoa("Event:").slice(0, 7));
  });

  test("reach from the last execution of a long chain to its first event, and onward to the maximum depth", async () => {
    const { data } = await ask(
      `query($last: ID!, $first: ID!) { execution(id: $last) { causes { ${step} } near: causes(first: 2) { __typename } }
        event(id: $first) { effects(first: 200) { ${step} } } }`,
      { last: last.id, first: first.id },
    );
    expect(data.execution.causes).toHaveLength(3 * rounds - 1);
    expect(data.execution.causes.at(-1)).toEqual({ id: first.id });
    expect(data.execution.near).toEqual([{ __typename: "Enforcement" }, { __typename: "Event" }]);
    expect(idsOf(data.event.effects)).toEqual(idsOf(effectsOf(first, 20)));
    expect(data.event.effects).toHaveLength(20);
  });
});

describe("trace", () => {
  const query = `query($tag: String!, $n: Int) { trace(tag: $tag, first: $n) { ${step} ... on Event { created triggerRef } ... on Enforcement { created rule { ref } } ... on Execution { created action { ref } } } }`;

  test("is everything with a tag in order of time, in at most four statements", async () => {
    const { data, errors, statements } = await ask(query, { tag: "trees", n: 200 });
    expect(errors).toBeUndefined();
    expect(idsOf(data.trace)).toEqual(idsOf(trees()));
    expect(statements).toHaveLength(4);
    const few = await ask(query, { tag: "trees", n: 30 });
    expect(few.data.trace).toEqual(data.trace.slice(0, 30));
    expect(few.statements).toHaveLength(4);
    expect((await ask(query, { tag: "none" })).data.trace).toEqual([]);
  });

  test("is filled up with readable steps", async () => {
    const open = trees().filter((each) => each.open);
    const { data } = await askNarrowed(query, { tag: "trees", n: 40 });
    expect(idsOf(data.trace)).toEqual(idsOf(open.slice(0, 40)));
    const executions = await askNarrowed(query, { tag: "trees", n: 200 }, ["execution"]);
    expect(idsOf(executions.data.trace)).toEqual(idsOf(open.filter(({ kind }) => kind === "Execution")));
    expect((await askNarrowed(query, { tag: "trees", n: 200 }, [])).data.trace).toEqual([]);
  });
});

describe("the hierarchy", () => {
  const inTree = () => trees().filter(({ kind }) => kind === "Execution");
  const below = (each: Step, depth: number): Step[] =>
    depth === 0
      ? []
      : each.effects.filter(({ kind }) => kind === "Execution").flatMap((c) => [c, ...below(c, depth - 1)]);
  const above = (each: Step): Step[] => (each.cause?.kind === "Execution" ? [...above(each.cause), each.cause] : []);
  const newestFirst = (list: Step[]) => idsOf(list.toSorted((a, b) => b.number - a.number));
  const bushy = () => inTree().toSorted((a, b) => below(b, 10).length - below(a, 10).length)[0] as Step;

  test("is readable both ways on each execution: descendants, ancestors, path, depth", async () => {
    const query = `query($n: Int!) { executions(first: $n, where: {traceTag: {eq: "trees"}}, orderBy: {field: CREATED, direction: ASC}) {
      nodes { id depth path ancestors { id depth } descendants(first: 40) { totalCount { count } nodes { id actionRef } } near: descendants(first: 20, maxDepth: 1) { nodes { id } } } } }`;
    const { data, errors, statements } = await ask(query, { n: 100 });
    expect(errors).toBeUndefined();
    const nodes = data.executions.nodes;
    expect(idsOf(nodes)).toEqual(idsOf(inTree()));
    for (const [index, each] of inTree().entries()) {
      const { depth, path, ancestors, descendants, near } = nodes[index];
      expect(idsOf(ancestors)).toEqual(idsOf(above(each)));
      expect(path).toEqual(idsOf([...above(each), each]));
      expect(depth).toBe(above(each).length);
      expect(idsOf(descendants.nodes)).toEqual(newestFirst(below(each, 10)));
      expect(descendants.totalCount.count).toBe(below(each, 10).length);
      expect(idsOf(near.nodes)).toEqual(newestFirst(below(each, 1)));
    }
    const few = await ask(query, { n: 20 });
    expect(statements.length).toBe(few.statements.length);
    expect(statements.length).toBeLessThanOrEqual(1 + 3 + 2 + 3 + 2);
  });

  test("pages forward and backward, filtered and ordered, each descendant once", async () => {
    const top = bushy();
    const query = (args: string) => `query($id: ID!, $cursor: String) { execution(id: $id) { descendants(${args}) {
      totalCount { count } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { id } } } } }`;
    const expected = newestFirst(below(top, 10));
    expect(expected.length).toBeGreaterThan(7);
    const directions = [
      ["first: 3, after: $cursor", "hasNextPage", "endCursor", expected],
      ["last: 3, before: $cursor", "hasPreviousPage", "startCursor", expected],
      [
        `first: 2, after: $cursor, orderBy: {field: CREATED, direction: ASC}`,
        "hasNextPage",
        "endCursor",
        expected.toReversed(),
      ],
    ] as const;
    for (const [args, more, end, order] of directions) {
      const seen: string[] = [];
      let cursor: string | null = null;
      for (let round = 0; round < 60; round += 1) {
        const { data, errors } = await ask(query(args), { id: top.id, cursor });
        expect(errors).toBeUndefined();
        const { totalCount, pageInfo, edges } = data.execution.descendants;
        expect(totalCount.count).toBe(expected.length);
        const page = edges.map(({ node }: { node: { id: string } }) => node.id);
        if (args.startsWith("last")) seen.unshift(...page);
        else seen.push(...page);
        cursor = pageInfo[end];
        if (!pageInfo[more]) break;
      }
      expect(seen).toEqual(order);
    }
    const shut = below(top, 10).filter(({ open }) => !open);
    expect(shut.length).toBeGreaterThan(0);
    const { data } = await ask(query(`where: {pack: {eq: "shut"}}, after: $cursor`), { id: top.id });
    expect(data.execution.descendants.totalCount.count).toBe(shut.length);
    expect(data.execution.descendants.edges).toHaveLength(shut.length);
  });

  test("shows and counts only readable executions", async () => {
    const query = `query($ids: [ID!]!) { nodes(ids: $ids) { ... on Execution { path ancestors { id } descendants { totalCount { count } nodes { id } } } } }`;
    const open = inTree().filter((each) => each.open);
    const { data, errors } = await askNarrowed(query, { ids: idsOf(open) });
    expect(errors).toBeUndefined();
    for (const [index, each] of open.entries()) {
      const visible = above(each).filter((one) => one.open);
      const { path, ancestors, descendants } = data.nodes[index];
      expect(idsOf(ancestors)).toEqual(idsOf(visible));
      expect(path).toEqual(idsOf([...visible, each]));
      const visibleBelow = below(each, 10).filter((one) => one.open);
      expect(idsOf(descendants.nodes)).toEqual(newestFirst(visibleBelow));
      expect(descendants.totalCount.count).toBe(visibleBelow.length);
    }
  });

  test.each([
    ["descendants(first: 101) { totalCount { count } }"],
    ["descendants(maxDepth: 101) { totalCount { count } }"],
    ["descendants(first: 1, last: 1) { totalCount { count } }"],
    [`descendants(after: "nonsense") { totalCount { count } }`],
    ["effects(first: 201) { __typename }"],
    ["effects(maxDepth: 21) { __typename }"],
    ["effects(maxDepth: -1) { __typename }"],
    ["causes(first: 101) { __typename }"],
  ])("refuses %s", async (field) => {
    const { errors } = await ask(`query($id: ID!) { execution(id: $id) { ${field} } }`, { id: last.id });
    expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  });
});
