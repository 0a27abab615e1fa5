import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { HmacConfig } from "../../src/catalog/webhook.ts";
import { checkSignature } from "../../src/event/signature.ts";

const github: HmacConfig = {
  scheme: "github",
  algorithm: "sha256",
  header: "x-hub-signature-256",
  prefix: "sha256=",
};

interface Example {
  secret: string;
  body: string;
  headers: Record<string, string>;
  /** Seconds at which it was sent; null for a scheme without time. */
  time: number | null;
  /** The header with the id, which must be there; null for none. */
  idHeader: string | null;
  id: string;
}

const stripeTime = 1700000000;
const stripeSignature = createHmac("sha256", "whsec_stripe").update(`${stripeTime}.{"id": "evt_1"}`).digest("hex");

/** The senders' own published examples, except Stripe's, which publishes none. */
const examples: Partial<Record<HmacConfig["scheme"], Example>> = {
  github: {
    secret: "It's a Secret to Everybody",
    body: "Hello, World!",
    headers: {
      "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
      "x-github-delivery": "72d3162e",
    },
    time: null,
    idHeader: "x-github-delivery",
    id: "72d3162e",
  },
  standard_webhooks: {
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    body: '{"test": 2432232314}',
    headers: {
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,bm90IHRoaXM= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v2,x",
    },
    time: 1614265330,
    idHeader: null,
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  },
  slack: {
    secret: "8f742231b10e8888abcd99yyyzzz85a5",
    body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    headers: {
      "x-slack-request-timestamp": "1531420618",
      "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    time: 1531420618,
    idHeader: null,
    id: "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
  },
  stripe: {
    secret: "whsec_stripe",
    body: '{"id": "evt_1"}',
    headers: { "stripe-signature": `t=${stripeTime},v1=${"0".repeat(64)},v1=${stripeSignature},v0=old` },
    time: stripeTime,
    idHeader: null,
    id: stripeSignature,
  },
};

const check = (scheme: HmacConfig["scheme"], given: Example, seconds = given.time ?? 0) =>
  checkSignature(
    { headers: given.headers, body: Buffer.from(given.body) },
    { config: { ...github, scheme }, secret: given.secret, idHeader: given.idHeader },
    seconds * 1000,
  );
const wrong = { error: "the signature is missing or wrong" };

describe.each(Object.entries(examples))("%s", (name, example) => {
  const scheme = name as HmacConfig["scheme"];

  test("accepts the sender's example, with its id", () => {
    expect(check(scheme, example)).toEqual({ id: example.id });
  });

  test("refuses another body, secret, time or id, and a missing header", () => {
    expect(check(scheme, { ...example, body: `${example.body} ` })).toEqual(wrong);
    expect(check(scheme, { ...example, secret: `whsec_${"A".repeat(32)}` })).toEqual(wrong);
    for (const header of Object.keys(example.headers)) {
      const { [header]: value = "", ...others } = example.headers;
      expect(check(scheme, { ...example, headers: others })).toEqual({ error: expect.any(String) });
      if (header === "x-github-delivery") continue; // GitHub does not sign it
      const changed = value.replace(/\d/, (digit) => String((Number(digit) + 1) % 10));
      const fault = header === "webhook-signature" ? "v1,AAAA" : changed;
      expect(check(scheme, { ...example, headers: { ...others, [header]: fault } })).toEqual(wrong);
    }
  });
});

const timed = Object.entries(examples).filter(([, { time }]) => time !== null);
test.each(timed)("%s: a time more than five minutes away is refused", (name, example) => {
  const scheme = name as HmacConfig["scheme"];
  const sent = example.time ?? 0;
  for (const seconds of [sent - 300, sent + 300]) expect(check(scheme, example, seconds)).toEqual({ id: example.id });
  for (const seconds of [sent - 301, sent + 301]) {
    expect(check(scheme, example, seconds)).toEqual({ error: expect.stringContaining("more than 300 seconds") });
  }
});

test.each(["", "t=", "t=1,v1=", "t=x,v1=00", "v1=00", "t=1=2,,=,v1"])("Stripe's header %j is refused", (header) => {
  const example = { ...(examples.stripe as Example), headers: { "stripe-signature": header } };
  expect(check("stripe", example, 1)).toEqual(wrong);
});
