import type { HmacConfig } from "../../src/catalog/signature-form.ts";

/** A request with a valid signature. */
export interface Example {
  config: HmacConfig;
  secret: string;
  body: string;
  headers: Record<string, string>;
  url?: string;
  /** The header with the signature. */
  signature: string;
  /** Seconds at which it was sent; null for a form without a time. */
  time: number | null;
  /** The header with the id, which must be there; null for none. */
  idHeader: string | null;
  id: string | null;
}

const form = { "content-type": "application/x-www-form-urlencoded" };
const twilioUrl = "https://mycompany.com/myapp.php?foo=1&bar=2";
const call =
  "Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE" as const;
const twilio = { secret: "12345", url: twilioUrl, signature: "x-twilio-signature", time: null, idHeader: null };
const hexOf = (base64: string) => Buffer.from(base64, "base64").toString("hex");

/**
 * Where a sender publishes an example this is it. The others publish none: theirs were made with `openssl dgst -hmac`. GitLab signs nothing, and sends
 * its secret itself.
 */
export const senders: Readonly<Record<string, Example>> = {
  "GitHub (published)": {
    config: { scheme: "github" },
    secret: "It's a Secret to Everybody",
    body: "Hello, World!",
    headers: {
      "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
      "x-github-delivery": "72d3162e",
    },
    signature: "x-hub-signature-256",
    time: null,
    idHeader: "x-github-delivery",
    id: "72d3162e",
  },
  "Standard Webhooks (published)": {
    config: { scheme: "standard_webhooks" },
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    body: '{"test": 2432232314}',
    headers: {
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    signature: "webhook-signature",
    time: 1614265330,
    idHeader: null,
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  },
  "Slack (published)": {
    config: { scheme: "slack" },
    secret: "8f742231b10e8888abcd99yyyzzz85a5",
    body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    headers: {
      "x-slack-request-timestamp": "1531420618",
      "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    },
    signature: "x-slack-signature",
    time: 1531420618,
    idHeader: null,
    id: "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
  },
  "Twilio (published)": {
    ...twilio,
    config: { scheme: "twilio" },
    body: call,
    headers: { ...form, "x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=" },
    id: hexOf("RSOYDt4T1cUTdK1PDd93/VVr8B8="),
  },
  "Twilio, a parameter with several values (published)": {
    ...twilio,
    config: { scheme: "twilio" },
    body: "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234",
    headers: { ...form, "x-twilio-signature": "IK+Dwps556ElfBT0I3Rgjkr1wJU=" },
    id: hexOf("IK+Dwps556ElfBT0I3Rgjkr1wJU="),
  },
  "Twilio, JSON (published)": {
    ...twilio,
    url: `${twilioUrl}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620`,
    config: { scheme: "twilio" },
    body: '{"property": "value", "boolean": true}',
    headers: { "content-type": "application/json", "x-twilio-signature": "a9nBmqA0ju/hNViExpshrM61xv4=" },
    id: hexOf("a9nBmqA0ju/hNViExpshrM61xv4="),
  },
  "Twilio, SHA-256": {
    ...twilio,
    config: { scheme: "twilio", algorithm: "sha256" },
    body: call,
    headers: { ...form, "x-twilio-signature": "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=" },
    id: hexOf("033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s="),
  },
  Stripe: {
    config: { scheme: "stripe" },
    secret: "whsec_stripe",
    body: '{"id": "evt_1"}',
    headers: { "stripe-signature": "t=1700000000,v1=e55fcc6205a77053da05b443e6a55a942fba2d56c74962c107169bbd78e30b0e" },
    signature: "stripe-signature",
    time: 1700000000,
    idHeader: null,
    id: "e55fcc6205a77053da05b443e6a55a942fba2d56c74962c107169bbd78e30b0e",
  },
  GitLab: {
    config: { scheme: "gitlab" },
    secret: "a token of the hook",
    body: '{"object_kind": "push"}',
    headers: { "x-gitlab-token": "a token of the hook", "idempotency-key": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f" },
    signature: "x-gitlab-token",
    time: null,
    idHeader: "idempotency-key",
    id: "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
  },
  Shopify: {
    config: { scheme: "shopify" },
    secret: "hush",
    body: '{"id": 820982911946154508, "email": "jon@example.com"}',
    headers: {
      "x-shopify-hmac-sha256": "8oTAlJ0HtUEbJDFmjrpj7ILB73p0WlxjdkJwg509B48=",
      "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    },
    signature: "x-shopify-hmac-sha256",
    time: null,
    idHeader: "x-shopify-webhook-id",
    id: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
  },
  Typeform: {
    config: { scheme: "typeform" },
    secret: "a secret of the form",
    body: '{"event_id": "01DABJTRG5ZZR2QYJ4HBQ5XFGA", "event_type": "form_response"}',
    headers: { "typeform-signature": "sha256=ne1OjgOUFTMdoqLo9la/uoWbU7ZOmJuXA/bscSCRlmQ=" },
    signature: "typeform-signature",
    time: null,
    idHeader: null,
    id: hexOf("ne1OjgOUFTMdoqLo9la/uoWbU7ZOmJuXA/bscSCRlmQ="),
  },
  Meta: {
    config: { scheme: "meta" },
    secret: "the app secret",
    body: '{"object": "page", "entry": [{"id": "0", "time": 1700000000}]}',
    headers: { "x-hub-signature-256": "sha256=09f847e84bcad3644c99be25e182681da4157628ed3e9e1cc0c12739a37f3352" },
    signature: "x-hub-signature-256",
    time: null,
    idHeader: null,
    id: "09f847e84bcad3644c99be25e182681da4157628ed3e9e1cc0c12739a37f3352",
  },
  "another sender, of which everything is described": {
    config: {
      ...{ scheme: "body", algorithm: "sha512", encoding: "base64", header: "x-own", prefix: "own " },
      ...{ timestamp_header: "x-at", signed_text: "{timestamp}:{id}:{body}:{url}", tolerance_seconds: 60 },
    },
    secret: "a secret",
    body: '{"a": "ü"}',
    url: "https://hooks.example.org/webhooks/x?a=1",
    headers: {
      "x-own": "own bbmgerVipHvSBici/cxkO6uh6ksIQVozR4LkCWQOYe+UMNWw46tlygyE3rFlBP9Xd87Ld97sh2o3ZXbpg+aYzQ==",
      "x-at": "1700000000000",
      "x-id": "d-1",
    },
    signature: "x-own",
    time: 1700000000,
    idHeader: "x-id",
    id: "d-1",
  },
};
