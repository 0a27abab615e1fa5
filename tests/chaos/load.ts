import { setTimeout as sleep } from "node:timers/promises";
import { request } from "../support/server.ts";
import { createRandom, type Random } from "./random.ts";
import type { System } from "./system.ts";

/** The value of the key that a rule passes to its action. */
export const secret = "hush-5d1c9be27a4f";
const types = ["plain", "again", "once", "secret", "limited"];
const rules = [
  { ref: "default.all", types, action: "core.echo", actionParams: { message: "{{ event.payload.body.n }}" } },
  { ref: "default.again", types: ["again"], action: "chaos.again", actionParams: {} },
  { ref: "default.once", types: ["once"], action: "chaos.once", actionParams: {} },
  {
    ref: "default.secret",
    types: ["secret"],
    action: "chaos.again",
    actionParams: { hush: '{{ key("system.hush") }}' },
  },
  {
    ref: "default.limited",
    types: ["limited"],
    action: "chaos.limited",
    actionParams: { host: "{{ event.payload.body.host }}", seconds: 0.3 },
  },
];
const hosts = ["one", "two"];
/** Policies that change under the load. */
const policies = {
  "default.two": { action: "chaos.limited", parameters: ["host"], threshold: 2 },
  "default.three": { action: "chaos.flaky", parameters: [], threshold: 3 },
};

/** Creates the trigger, the rules, the key and the policy, and returns the webhook's path. */
export async function prepare(system: System): Promise<string> {
  const run = async (mutation: string, input: object) => {
    const type = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}Input!`;
    const query = `mutation ($input: ${type}) { made: ${mutation}(input: $input) { __typename ... on Error { message }
      ${mutation === "enableWebhook" ? "... on EnableWebhookPayload { path }" : ""} } }`;
    const { made } = await request<{ made: { message?: string; path?: string } }>(system, query, { input });
    if (made.message) throw new Error(`${mutation}: ${made.message}`);
    return made.path ?? "";
  };
  await run("createTrigger", { ref: "default.hook" });
  await run("setKey", { owner: { system: true }, name: "hush", value: secret });
  for (const { ref, types: matched, ...fields } of rules) {
    const conditions = [{ field: "body.type", operator: "IN", value: matched }];
    await run("createRule", { ref, trigger: "default.hook", ...fields, conditions });
    system.history.add({ kind: "rule", ref, types: matched });
  }
  for (const [ref, policy] of Object.entries(policies)) {
    await run("createPolicy", { ref, method: "ENQUEUE", ...policy });
    system.history.add({ kind: "policy", ref, ...policy });
  }
  return await run("enableWebhook", { trigger: "default.hook", deliveryHeader: "x-delivery" });
}

/** Sends webhooks and requests executions until `until`; what was not accepted is repeated, with the same delivery id or key. */
export async function load(system: System, hook: string, { seed, until }: { seed: number; until: number }) {
  const random = createRandom(seed + 2_000_003);
  const perSecond = { webhooks: 6, executions: 4 };
  const sending: Promise<void>[] = [];
  const every = async (rate: number, send: (number: number) => Promise<void>) => {
    const from = Date.now();
    for (let number = 0; Date.now() < until; number += 1) {
      sending.push(send(number));
      await sleep(Math.max(0, from + ((number + 1) * 1000) / rate - Date.now()));
    }
  };
  await Promise.all([
    every(perSecond.webhooks, (n) =>
      sendWebhook(system, hook, { n, type: random.pick(types), host: random.pick(hosts) }),
    ),
    every(perSecond.executions, (n) => execute(system, `key-${n}`, chooseAction(random, n))),
    editPolicies(system, createRandom(seed + 4_000_037), until),
  ]);
  await Promise.all(sending);
}

/** Lowers and raises one policy's limit, disables and enables the other, one after another, each until it is acknowledged. */
async function editPolicies(system: System, random: Random, until: number): Promise<void> {
  for (let isEnabled = true; ; ) {
    await sleep(random.between(8000, 30_000));
    if (Date.now() > until) return;
    const policy = random.pick(Object.keys(policies) as (keyof typeof policies)[]);
    if (policy === "default.three") isEnabled = !isEnabled;
    const { threshold } = policy === "default.two" ? { threshold: random.pick([1, 2, 3, 4]) } : policies[policy];
    const input = policy === "default.two" ? { ref: policy, threshold } : { ref: policy, enabled: isEnabled };
    const at = Date.now();
    const query = `mutation ($input: UpdatePolicyInput!) { updatePolicy(input: $input) {
      ... on UpdatePolicyPayload { policy { id } } ... on Error { message } } }`;
    await patiently(async () => {
      const { updatePolicy } = await request<{ updatePolicy: { message?: string } }>(system, query, { input });
      if (updatePolicy.message) throw new Error(updatePolicy.message);
    });
    const limit = policy === "default.three" && !isEnabled ? null : threshold;
    system.history.add({ kind: "limit", at, until: Date.now(), policy, threshold: limit });
  }
}

function chooseAction(random: Random, number: number): { action: string; parameters: object; cancels: boolean } {
  const key = `key-${number}`;
  const seconds = random.between(5, 40);
  const [action, parameters] = random.pick<[string, object]>([
    ["core.echo", { message: key }],
    ["chaos.once", { key }],
    ["chaos.again", { key }],
    ["chaos.limited", { key, host: random.pick(hosts), seconds: 0.2 }],
    ["chaos.flaky", { key, fails: random.pick([1, 2]) }],
    ["chaos.slow", { key }],
    ["chaos.tree", { key, seconds: random.pick([0, 1]) }],
  ]);
  const cancels = random.chance(action === "chaos.tree" ? 0.4 : 0.1);
  // Long enough that a lost worker leaves some of these.
  if (number % 12 === 0)
    return { action: number % 24 === 0 ? "chaos.once" : "chaos.again", parameters: { key, seconds }, cancels };
  return { action, parameters, cancels };
}

/** Tries until it is accepted. The last tries come after the faults. */
async function persistently(system: System, which: { n: number } | { key: string }, send: () => Promise<string>) {
  for (let tries = 0; tries < 40; tries += 1) {
    try {
      const id = await send();
      system.history.add({ kind: "accepted", at: Date.now(), ...which, id });
      return id;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      system.history.add({ kind: "refused", at: Date.now(), ...which, reason });
      await sleep(Math.min(250 * 2 ** tries, 5000));
    }
  }
  return null;
}

/** The row's id in a global one. */
const rowId = (globalId: string) => Buffer.from(globalId, "base64url").toString().split(":")[1] ?? "";

async function sendWebhook(system: System, hook: string, body: { n: number; type: string; host: string }) {
  system.history.add({ kind: "webhook", at: Date.now(), n: body.n, type: body.type });
  await persistently(system, { n: body.n }, async () => {
    const response = await fetch(system.url + hook, {
      method: "POST",
      headers: { "content-type": "application/json", "x-delivery": `delivery-${body.n}` },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(60_000),
    });
    const { event } = (await response.json()) as { event?: string };
    if (!event) throw new Error(`status ${response.status}`);
    return rowId(event);
  });
}

async function execute(
  system: System,
  key: string,
  { action, parameters, cancels }: { action: string; parameters: object; cancels: boolean },
) {
  system.history.add({ kind: "execute", at: Date.now(), key, action });
  const id = await persistently(system, { key }, async () => {
    const query = `mutation ($input: ExecuteActionInput!) { executeAction(input: $input) {
      ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
    const input = { action, parameters, idempotencyKey: key };
    const { executeAction } = await request<{ executeAction: { execution?: { id: string }; message?: string } }>(
      system,
      query,
      { input },
    );
    if (!executeAction.execution) throw new Error(executeAction.message);
    return rowId(executeAction.execution.id);
  });
  if (id === null || !cancels) return;
  const global = Buffer.from(`Execution:${id}`).toString("base64");
  await request(system, "mutation ($id: ID!) { cancelExecution(input: {id: $id}) { __typename } }", {
    id: global,
  }).catch(
    () => {}, // the cancel is lost in a fault: the execution goes on
  );
}

/** A fault of the moment must not end the harness: gives each request or statement tries for at least a minute. */
export async function patiently<T>(read: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await read();
    } catch (error) {
      if (tries === 120) throw error;
      await sleep(500);
    }
  }
}
