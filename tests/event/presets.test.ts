import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { write } from "../../src/db/tx.ts";
import { checkSignature } from "../../src/event/signature.ts";
import { acceptDelivery, type Webhook } from "../../src/event/webhook.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";
import { type Example, senders } from "./senders.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const presets = ["GitHub", "GitLab", "Stripe", "Slack", "Shopify", "Typeform", "Twilio", "Standard Webhooks"];
const examples = presets.flatMap((preset) =>
  Object.entries(senders)
    .filter(([name]) => name.startsWith(preset))
    .map(([name, example]) => [preset, name, example] as const),
);

test("each preset has an example", () => {
  expect([...new Set(examples.map(([preset]) => preset))]).toEqual(presets);
});

/** Checks the signature, by default when the request was sent. */
const check = (
  given: Example,
  { body = Buffer.from(given.body), headers = given.headers, seconds = given.time ?? 0 } = {},
) =>
  checkSignature(
    { headers, body, url: given.url ?? null },
    { config: given.config, secrets: [given.secret], idHeader: given.idHeader },
    seconds * 1000,
  );

/** Every sequence of bytes that differs in one bit of one byte. */
const flipped = (bytes: Buffer) =>
  Array.from(bytes, (_byte, at) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  });

describe.each(examples)("%s, %s", (_preset, name, example) => {
  const isSigned = example.config.scheme !== "gitlab";

  test("is accepted", () => {
    expect(check(example)).toEqual({ id: example.id });
  });

  test("is refused with one byte changed", () => {
    const wrong = { error: "the signature is missing or wrong" };
    const value = Buffer.from(example.headers[example.signature] ?? "");
    for (const bytes of flipped(value)) {
      expect(
        check(example, { headers: { ...example.headers, [example.signature]: bytes.toString("latin1") } }),
      ).toEqual(wrong);
    }
    // GitLab's token does not depend on the body.
    for (const body of flipped(Buffer.from(example.body)))
      expect(check(example, { body })).toEqual(isSigned ? wrong : { id: example.id });
  });

  test("is refused with an old timestamp, or has none", () => {
    const late = check(example, { seconds: (example.time ?? 0) + 301 });
    const hasTime = ["stripe", "slack", "standard_webhooks"].includes(example.config.scheme);
    expect(example.time !== null).toBe(hasTime);
    expect(late).toEqual(hasTime ? { error: expect.stringContaining("more than 300 seconds") } : { id: example.id });
  });

  test("is one event when it is sent again", async () => {
    const ref = `default.p${Object.keys(senders).indexOf(name)}`;
    const { id } = await commit(world.services, createTrigger, world.session, { ref });
    const { config, secret, idHeader, headers, body } = example;
    const webhook: Webhook = {
      trigger: { id: String(id), ref, enabled: true, outSchema: null },
      config: { hmac: config, max_bytes: 1000, delivery_header: idHeader },
      secrets: [world.services.keyring.seal(secret)],
      verifyToken: null,
    };
    const checked = check(example);
    if (checked.error !== undefined) throw new Error(checked.error);
    const delivery = {
      headers,
      query: {},
      body: Buffer.from(body),
      url: null,
      sourceIp: null,
      startedAt: 0,
      signed: true,
    };
    const send = () =>
      write(world.services, (tx) => acceptDelivery(tx, webhook, delivery, [{ body: {}, id: checked.id }]));
    const all = await Promise.all([send(), send(), send()]);
    expect(all.map(({ status }) => status).sort()).toEqual([200, 200, 202]);
    expect(new Set(all.flatMap(({ events }) => events)).size).toBe(1);
    expect(await world.all(sql`select 1 as one from attune.event where trigger_ref = ${ref}`)).toHaveLength(1);
  });
});
