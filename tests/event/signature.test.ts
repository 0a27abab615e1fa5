import { describe, expect, test } from "vitest";
import { checkSignature, type SignatureCheck } from "../../src/event/signature.ts";
import { type Example, senders } from "./senders.ts";

const check = (given: Example, { seconds = given.time ?? 0, more = [] as string[] } = {}) =>
  checkSignature(
    { headers: given.headers, body: Buffer.from(given.body), url: given.url ?? null },
    { config: given.config, secrets: [...more, given.secret], idHeader: given.idHeader },
    seconds * 1000,
  );
const wrong: SignatureCheck = { error: "the signature is missing or wrong" };
const withHeader = (example: Example, name: string, value: string): Example => ({
  ...example,
  headers: { ...example.headers, [name]: value },
});

/** Every text that differs from this one in one character. */
const changed = (text: string) =>
  Array.from(text, (character, at) => {
    // The case of a hexadecimal digit means nothing.
    const other = character === "7" ? "8" : "7";
    return text.slice(0, at) + other + text.slice(at + 1);
  });

describe.each(Object.entries(senders))("%s", (_name, example) => {
  const { headers, signature, time, idHeader, id } = example;

  test("accepts the example, with its id, and by any of several secrets", () => {
    expect(check(example)).toEqual({ id });
    expect(check(example, { more: ["another secret", `whsec_${"A".repeat(32)}`] })).toEqual({ id });
    expect(check({ ...example, secret: `whsec_${"A".repeat(32)}` })).toEqual(wrong);
  });

  test("refuses one character changed anywhere, added or left out", () => {
    const texts = (text: string) => [
      ...changed(text),
      `${text} `,
      `${text}7`,
      ` ${text}`,
      text.slice(1),
      text.slice(0, -1),
      "",
    ];
    const isBodySigned = example.config.scheme !== "gitlab";
    for (const body of isBodySigned ? texts(example.body) : [])
      expect([body, check({ ...example, body })]).toEqual([body, wrong]);
    for (const name of Object.keys(headers)) {
      const isId = name === idHeader && !example.config.signed_text?.includes("{id}"); // not signed
      if (isId || name === "content-type") continue;
      for (const value of texts(headers[name] ?? "")) {
        expect([name, value, check(withHeader(example, name, value))]).toEqual([name, value, wrong]);
      }
    }
    const signed = example.url ?? "";
    const isSigned = example.config.scheme === "twilio" || example.config.signed_text?.includes("{url}");
    if (isSigned)
      for (const url of changed(signed).slice(8)) expect([url, check({ ...example, url })]).toEqual([url, wrong]);
  });

  test("refuses a request without one of the headers", () => {
    for (const name of Object.keys(headers).filter((each) => each !== "content-type")) {
      const { [name]: _, ...others } = headers;
      expect(check({ ...example, headers: others })).toEqual({
        error: expect.stringContaining(`the header ${name} is missing`),
      });
    }
  });

  test("accepts the signature in its exact encoding only", () => {
    const value = headers[signature] ?? "";
    const isHex = /[0-9a-f]{40}$/.test(value);
    const garbage = isHex ? ["zz", "0", "00", "\n", " ", "\u0000"] : ["!", "=", "==", "AAAA", "\n", " ", "-"];
    for (const end of garbage) expect([end, check(withHeader(example, signature, value + end))]).toEqual([end, wrong]);
    const digits = /[0-9a-f]{40,}$/;
    const upper = value.replace(digits, (found) => found.toUpperCase());
    expect(check(withHeader(example, signature, upper))).toEqual({ id });
    if (isHex) return;
    const others = [
      value.replace(/=+$/, ""),
      value.replaceAll("+", "-").replaceAll("/", "_"),
      value.replace(/.(?==+$)/, "B"),
    ];
    for (const other of others.filter((each) => each !== value)) {
      expect([other, check(withHeader(example, signature, other))]).toEqual([other, wrong]);
    }
  });

  test("refuses a time that is too far away", () => {
    if (time === null) return expect(check(example, { seconds: 4e9 })).toEqual({ id });
    const far = example.config.tolerance_seconds ?? 300;
    for (const seconds of [time - far, time + far]) expect(check(example, { seconds })).toEqual({ id });
    for (const seconds of [time - far - 1, time + far + 1]) {
      expect(check(example, { seconds })).toEqual({ error: expect.stringContaining(`more than ${far} seconds`) });
    }
  });
});

const { Stripe: stripe, "Standard Webhooks (published)": standard } = senders as Record<string, Example>;
const [timestamp, v1] = stripe?.headers["stripe-signature"]?.split(",") ?? [];

test.each([
  ["", false],
  ["t=", false],
  ["t=1,v1=", false],
  [`t=x,${v1}`, false],
  [`${v1}`, false],
  [`${timestamp}, ${v1}`, false],
  [`${timestamp},${timestamp},${v1}`, false],
  [`t=1,${timestamp},${v1}`, false],
  [`t=-1700000000,${v1}`, false],
  [`${timestamp},v1=${"0".repeat(64)},${v1},v0=old`, true],
])("Stripe's header %j", (header, accepted) => {
  const example = withHeader(stripe as Example, "stripe-signature", header);
  expect(check(example)).toEqual(accepted ? { id: stripe?.id } : wrong);
});

test("one of several signatures of Standard Webhooks is enough", () => {
  const published = standard?.headers["webhook-signature"];
  const example = withHeader(standard as Example, "webhook-signature", `v1,bm90IHRoaXM= ${published} v2,x`);
  expect(check(example)).toEqual({ id: standard?.id });
});

test("GitHub's request without its id is refused, and one of Twilio without the URL", () => {
  const { "GitHub (published)": github, "Twilio (published)": twilio } = senders as Record<string, Example>;
  const { "x-github-delivery": _, ...headers } = github?.headers ?? {};
  expect(check({ ...(github as Example), headers })).toEqual({
    error: "the header x-github-delivery is missing, by which a delivery that is sent again is known",
  });
  const { url: _url, ...elsewhere } = twilio as Example;
  expect(check(elsewhere)).toEqual({ error: expect.stringContaining("set ATTUNE__SERVER__PUBLIC_URL") });
});

test("Twilio may sign the URL with or without a port", () => {
  const twilio = senders["Twilio (published)"] as Example;
  for (const host of ["mycompany.com:443", "mycompany.com:8443"]) {
    expect(check({ ...twilio, url: twilio.url?.replace("mycompany.com", host) ?? "" })).toEqual({ id: twilio.id });
  }
  // Made with openssl for the URL with `:443`.
  expect(check(withHeader(twilio, "x-twilio-signature", "kvajT1Ptam85bY51eRf/AJRuM3w="))).toMatchObject({
    id: expect.stringMatching(/^[0-9a-f]{40}$/),
  });
});

test("a token is the secret itself", () => {
  const [secret, body, header, prefix] = ["a token of the hook", "{}", "authorization", "Bearer "];
  const rest = { signature: header, time: null, idHeader: null, id: null };
  const example: Example = {
    config: { scheme: "token" },
    secret,
    body,
    headers: { [header]: prefix + secret },
    ...rest,
  };
  expect(check(example)).toEqual({ id: null });
  for (const value of [...changed(prefix + secret), `${prefix}${secret} `, `${prefix}${secret.slice(1)}`, prefix, ""]) {
    expect([value, check(withHeader(example, header, value))]).toEqual([value, wrong]);
  }
});

test("a configuration of an earlier version keeps its meaning", () => {
  const stored = { algorithm: "sha256", header: "x-hub-signature-256", prefix: "sha256=" } as const;
  expect(check({ ...(stripe as Example), config: { ...stored, scheme: "stripe" } })).toEqual({ id: stripe?.id });
  const github = senders["GitHub (published)"] as Example;
  expect(check({ ...github, config: { ...stored, scheme: "github" } })).toEqual({ id: github.id });
  expect(check({ ...github, idHeader: null, config: { ...stored, scheme: "body" } })).toEqual({ id: null });
});
