import { createHmac } from "node:crypto";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServices } from "../support/database.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";

const secret = "a secret of the hook";
const whsec = `whsec_${Buffer.from("a secret of the standard").toString("base64")}`;
const publicUrl = "https://hooks.example.org";
let server: RunningServer;
/** Paths by the trigger's name. */
const hooks: Record<string, string> = {};

beforeAll(async () => {
  server = await startInProcess(undefined, { ATTUNE__SERVER__PUBLIC_URL: publicUrl });
  for (const [name, enabled, hmac] of [
    ["open", true, null],
    ["read", true, null],
    ["signed", true, { secret, algorithm: "SHA512", header: "X-Signature", prefix: "" }],
    ["off", false, null],
    ["large", true, null],
    ["stripe", true, { secret, scheme: "STRIPE" }],
    ["flooded", true, { secret }],
    ["standard", true, { secret: whsec, scheme: "STANDARD_WEBHOOKS" }],
    ...(["GITLAB", "SHOPIFY", "TWILIO", "TYPEFORM", "TOKEN"] as const).map(
      (scheme) => [scheme.toLowerCase(), true, { secret, scheme }] as const,
    ),
  ] as const) {
    const result = await request<{ enableWebhook: { path: string } }>(
      server,
      `mutation ($ref: String!, $enabled: Boolean!, $hmac: WebhookHmacInput, $id: String, $maxBytes: Int!) {
        createTrigger(input: {ref: $ref, enabled: $enabled}) { __typename }
        enableWebhook(input: {trigger: $ref, hmac: $hmac, maxBytes: $maxBytes, deliveryHeader: $id}) {
          ... on EnableWebhookPayload { path } ... on Error { message } } }`,
      {
        ...{ ref: `default.${name}`, enabled, hmac, maxBytes: name === "large" ? 4_000_000 : 1000 },
        id: hmac && "scheme" in hmac ? null : "X-Delivery",
      },
    );
    hooks[name] = result.enableWebhook.path;
  }
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Payload {
  body: unknown;
  headers: Record<string, string>;
  query: Record<string, string>;
}

async function post(name: string, init: RequestInit, query = "") {
  const response = await fetch(`${server.url}${hooks[name]}${query}`, { method: "POST", ...init });
  return { status: response.status, ...((await response.json()) as { event?: string; error?: string }) };
}

/** Returns the payload of the event that the request created. */
async function payloadOf(init: RequestInit, query = ""): Promise<Payload> {
  expect(await post("open", init, query)).toEqual({ status: 202, event: expect.any(String) });
  const { events } = await request<{ events: { nodes: { payload: Payload }[] } }>(
    server,
    `{ events(first: 1, where: {trigger: {eq: "default.open"}}, orderBy: {field: CREATED, direction: DESC}) { nodes { payload } } }`,
  );
  return events.nodes[0]?.payload ?? { body: null, headers: {}, query: {} };
}

test("the event of a request keeps the configuration of the webhook", async () => {
  await payloadOf({ body: "{}" });
  const { events } = await request<{ events: { nodes: { config: object }[] } }>(
    server,
    `{ events(first: 1, where: {trigger: {eq: "default.open"}}, orderBy: {field: CREATED, direction: DESC}) { nodes { config } } }`,
  );
  expect(events.nodes[0]?.config).toMatchObject({ hmac: null, max_bytes: expect.any(Number) });
});

describe("the payload of a request", () => {
  test("a form becomes its fields", async () => {
    const { body } = await payloadOf({ body: new URLSearchParams({ name: "Bolt & Co", city: "Zürich" }) });
    expect(body).toEqual({ name: "Bolt & Co", city: "Zürich" });
  });

  test.each([
    ["text", "text/plain", "build 7 is done", "build 7 is done"],
    ["JSON by any name", "application/vnd.github+json", '{"a": [1, null]}', { a: [1, null] }],
    ["JSON that is declared as text, as text", "text/plain", '{"a": 1}', '{"a": 1}'],
    ["JSON of an unknown type", "application/octet-stream", '{"a": 1}', { a: 1 }],
    ["text of an unknown type", "application/x-log", '{"a": ', '{"a": '],
    ["nothing", "application/json", "", null],
    ["JSON with a byte order mark", "application/json", '\ufeff{"a": 1}', { a: 1 }],
    [
      "a form with a type in capitals",
      "Application/X-WWW-Form-URLEncoded; charset=UTF-8",
      "a=1&b=x+y",
      { a: "1", b: "x y" },
    ],
    [
      "a form with repeated names",
      "application/x-www-form-urlencoded",
      "a=1&b=2&a=3&a=",
      { a: ["1", "3", ""], b: "2" },
    ],
    [
      "a form whose payload is JSON",
      "application/x-www-form-urlencoded",
      `payload=${encodeURIComponent('{"ref": [1]}')}&x=1`,
      { payload: { ref: [1] }, x: "1" },
    ],
    [
      "a form whose payload is text",
      "application/x-www-form-urlencoded",
      "payload=%7Bno+json",
      { payload: "{no json" },
    ],
    [
      "a form with the name of a prototype",
      "application/x-www-form-urlencoded",
      "__proto__=1&constructor=2",
      JSON.parse('{"__proto__": "1", "constructor": "2"}'),
    ],
  ])("%s", async (_name, type, sent, body) => {
    expect((await payloadOf({ body: sent, headers: { "content-type": type } })).body).toEqual(body);
  });

  test.each<[string, string, BodyInit, unknown]>([
    ["latin1", "text/plain; charset=ISO-8859-1", Buffer.from("Zürich", "latin1"), "Zürich"],
    [
      "a charset after much space",
      `text/plain; charset=${" ".repeat(6000)}ISO-8859-1`,
      Buffer.from("Zürich", "latin1"),
      "Zürich",
    ],
    ["a quoted charset", 'application/json;charset="utf-16le"', Buffer.from('{"a": "ü"}', "utf16le"), { a: "ü" }],
    ["UTF-16 by its mark", "application/json", Buffer.from('\ufeff{"a": "ü"}', "utf16le"), { a: "ü" }],
    ["Shift_JIS in a form", "text/plain; charset=shift_jis", Buffer.from([0x93, 0xfa, 0x96, 0x7b]), "日本"],
  ])("in %s", async (_name, type, sent, body) => {
    expect((await payloadOf({ body: sent, headers: { "content-type": type } })).body).toEqual(body);
  });

  const json = JSON.stringify({ text: "ü".repeat(300) });
  test.each<[string, (sent: string) => Buffer<ArrayBuffer>]>([
    ["gzip", gzipSync],
    ["x-gzip", gzipSync],
    ["deflate", deflateSync],
    ["deflate", deflateRawSync],
    ["br", brotliCompressSync],
    ["GZIP", gzipSync],
    ["identity", Buffer.from],
    ["deflate, gzip", (sent) => gzipSync(deflateSync(sent))],
  ])("that is encoded as %s", async (encoding, encode) => {
    const headers = { "content-type": "application/json", "content-encoding": encoding };
    expect((await payloadOf({ body: encode(json), headers })).body).toEqual(JSON.parse(json));
  });

  test("fields of multipart/form-data, and a repeated parameter of the query as a list", async () => {
    const form = new FormData();
    form.append("payload", '{"ref": "main"}');
    form.append("tag", "a");
    form.append("tag", "b");
    const { body, query } = await payloadOf({ body: form }, "?x=1&y=2&x=3");
    expect(body).toEqual({ payload: { ref: "main" }, tag: ["a", "b"] });
    expect(query).toEqual({ x: ["1", "3"], y: "2" });
  });

  interface Shown {
    artifact: string;
    version: number;
    versionId: string;
  }
  const artifactOf = async (id: string) =>
    (
      await request<{ node: { ref: string; scope: string; versions: { nodes: { version: number }[] } } }>(
        server,
        `query ($id: ID!) { node(id: $id) { ... on Artifact { ref scope owner type retention retentionLimit versions { nodes { version contentType sha256 } } } } }`,
        { id },
      )
    ).node;
  const contentOf = async (id: string) => {
    const { node } = await request<{ node: { downloadUrl: string } }>(
      server,
      "query ($id: ID!) { node(id: $id) { ... on ArtifactVersion { downloadUrl } } }",
      { id },
    );
    return await (await fetch(`${server.url}${node.downloadUrl}`)).text();
  };
  const withFiles = (count: number) => {
    const form = new FormData();
    for (let i = 0; i < count; i += 1) form.append("f", new File([`${i}`], `${i}`));
    return form;
  };

  test("files of multipart/form-data as versions of an artifact, once however often they are sent", async () => {
    const form = new FormData();
    form.append("branch", "main");
    form.append("report", new File(["<a/>"], "report.xml", { type: "application/xml" }));
    form.append("logs", new File(["one"], "1.log", { type: "no type" }));
    form.append("logs", new File(["two"], "2.log"));
    form.append("none", new File([], ""));
    const { body } = await payloadOf({ body: form, headers: { "x-delivery": "with files" } });
    const shown = (file: string, contentType: string | null, size: number) =>
      expect.objectContaining({ file, contentType, size, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(body).toEqual({
      branch: "main",
      report: shown("report.xml", "application/xml", 4),
      logs: [shown("1.log", expect.anything(), 3), shown("2.log", "application/octet-stream", 3)],
      none: "", // what a browser sends where no file was chosen
    });
    const { report, logs } = body as { report: Shown; logs: [Shown, Shown] };
    expect([report.version, logs[0].version, logs[1].version]).toEqual([1, 2, 3]);
    expect(new Set([report, ...logs].map(({ artifact }) => artifact)).size).toBe(1);
    expect(await Promise.all([report, ...logs].map(({ versionId }) => contentOf(versionId)))).toEqual([
      "<a/>",
      "one",
      "two",
    ]);
    const again = new FormData();
    again.append("report", new File(["again"], "report.xml"));
    expect(await post("open", { body: again, headers: { "x-delivery": "with files" } })).toMatchObject({ status: 200 });
    const artifact = await artifactOf(report.artifact);
    expect(artifact).toMatchObject({
      ...{ ref: "webhooks/default.open", scope: "PACK", owner: "default", type: "FILE_BINARY" },
      ...{ retention: "DAYS", retentionLimit: 30 },
    });
    expect(artifact.versions.nodes.map(({ version }) => version)).toEqual([3, 2, 1]);
  });

  test.each<[string, BodyInit, Record<string, string>, number, RegExp]>([
    [
      "broken JSON",
      '{"a": ',
      { "content-type": "application/json" },
      400,
      /^payload\.body: is declared as application\/json, but is no JSON: /,
    ],
    ["a NUL instead of JSON", "\0", { "content-type": "application/json" }, 400, /but is no JSON: /],
    [
      "a text that ends within a character",
      `[${"\u{1f600}".repeat(200)}`,
      { "content-type": "application/json" },
      400,
      /no JSON/,
    ],
    [
      "JSON that is declared as more than JSON",
      "nothing",
      { "content-type": "application/vnd.api+json" },
      400,
      /is declared as application\/vnd\.api\+json/,
    ],
    [
      "bytes that are no text",
      Buffer.from([0xff, 0x00, 0xfa]),
      {},
      400,
      /^payload\.body: is no text in utf-8; content-type may name another charset$/,
    ],
    ["an unknown charset", "x", { "content-type": "text/plain; charset=klingon" }, 400, /unknown charset "klingon"/],
    [
      "an unknown encoding",
      "x",
      { "content-encoding": "lzma" },
      400,
      /unknown encoding "lzma"; known are gzip, deflate and br/,
    ],
    ["an encoding that it has not", "{}", { "content-encoding": "gzip" }, 400, /is not encoded as gzip/],
    [
      "half of a compressed body",
      gzipSync(json).subarray(0, 30),
      { "content-encoding": "gzip" },
      400,
      /is not encoded as gzip/,
    ],
    ["too many encodings", "x", { "content-encoding": "gzip, gzip, gzip, gzip" }, 400, /more than 3 encodings/],
    ["a bomb", gzipSync(Buffer.alloc(50_000_000)), { "content-encoding": "gzip" }, 413, /longer than 1000 bytes/],
    [
      "a bomb in a bomb",
      gzipSync(gzipSync(Buffer.alloc(500_000))),
      { "content-encoding": "gzip, gzip" },
      413,
      /longer than 1000 bytes/,
    ],
    ["no multipart", "x", { "content-type": "multipart/form-data; boundary=y" }, 400, /no valid multipart/],
  ])("is refused with the reason: %s", async (_name, body, headers, status, error) => {
    expect(await post("read", { body, headers })).toEqual({ status, error: expect.stringMatching(error) });
  });

  test("with more than 20 files is refused, and with a large file is stored in a file of its own", async () => {
    expect(await post("large", { body: withFiles(21) })).toEqual({
      status: 400,
      error: "payload.body: has 21 files; at most 20 are accepted",
    });
    const form = new FormData();
    form.append("dump", new File(["d".repeat(2_000_000)], "dump.sql"));
    const { event } = await post("large", { body: form });
    const { node } = await request<{ node: { payload: { body: { dump: Shown } } } }>(
      server,
      "query ($id: ID!) { node(id: $id) { ... on Event { payload } } }",
      { id: event },
    );
    expect(await contentOf(node.payload.body.dump.versionId)).toBe("d".repeat(2_000_000));
  });

  test("is signed before it was encoded", async () => {
    const signature = createHmac("sha512", secret).update(json).digest("hex");
    const headers = { "content-encoding": "br", "x-signature": signature, "x-delivery": "encoded" };
    expect(await post("signed", { body: brotliCompressSync(json), headers })).toMatchObject({ status: 202 });
  });

  test("whose delivery has an empty id is not taken for another's", async () => {
    for (let count = 0; count < 2; count += 1) {
      expect(await post("open", { body: "{}", headers: { "x-delivery": " " } })).toMatchObject({ status: 202 });
    }
  });

  test("headers in lower case without the sender's credentials, and the query", async () => {
    const headers = {
      Authorization: "Bearer of-the-sender",
      Cookie: "session=of-the-sender",
      "X-Api-Key": "of-the-sender",
      "X-Auth-Token": "of-the-sender",
      "X-Event": "push",
    };
    const payload = await payloadOf({ body: "{}", headers }, "?branch=main&tag=a%20b");
    expect(payload.query).toEqual({ branch: "main", tag: "a b" });
    expect(payload.headers).toMatchObject({ "x-event": "push" });
    expect(JSON.stringify(payload)).not.toContain("of-the-sender");
  });
});

describe("accepted requests", () => {
  let count = 0;
  const signed = (body: string, given: string) => {
    count += 1;
    return { body, headers: { "x-signature": given, "x-delivery": `signed-${count}` } };
  };
  const hash = (body: string) => createHmac("sha512", secret).update(body).digest("hex");

  test("have a valid sha512 signature in the configured header", async () => {
    expect(await post("signed", signed("{}", hash("{}")))).toMatchObject({ status: 202 });
    for (const wrong of [
      hash("{} "),
      createHmac("sha256", secret).update("{}").digest("hex"),
      `sha512=${hash("{}")}`,
      "",
    ]) {
      expect(await post("signed", signed("{}", wrong))).toEqual({
        status: 401,
        error: expect.stringContaining("signature"),
      });
    }
  });

  test("are identified by the configured delivery header", async () => {
    const once = await post("open", { body: "{}", headers: { "x-delivery": "7" } });
    expect(await post("open", { body: "{}", headers: { "x-delivery": "7" } })).toEqual({
      status: 200,
      event: once.event,
    });
    // The same id at another trigger is another delivery.
    const other = await post("signed", { body: "{}", headers: { "x-delivery": "7", "x-signature": hash("{}") } });
    expect(other.status).toBe(202);
  });

  test("are refused without the delivery header, by which a repetition would be known", async () => {
    expect(await post("signed", { body: "{}", headers: { "x-signature": hash("{}") } })).toEqual({
      status: 401,
      error: expect.stringContaining("the header x-delivery is missing"),
    });
  });

  test("are one event however often a signed one is sent again, whatever else in it is changed", async () => {
    const time = Math.floor(Date.now() / 1000);
    const stripe = createHmac("sha256", secret).update(`${time}.{}`).digest("hex");
    const key = Buffer.from(whsec.replace("whsec_", ""), "base64");
    const standard = createHmac("sha256", key).update(`msg_1.${time}.{}`).digest("base64");
    const sent: [string, Record<string, string>][] = [
      ["stripe", { "stripe-signature": `t=${time},v1=${stripe}` }],
      ["standard", { "webhook-id": "msg_1", "webhook-timestamp": String(time), "webhook-signature": `v1,${standard}` }],
    ];
    for (const [name, headers] of sent) {
      const replay = (more: object = {}) => post(name, { body: "{}", headers: { ...headers, ...more } });
      const all = await Promise.all([1, 2, 3, 4].map(() => replay()));
      const changed = await replay({ "x-github-delivery": "another", "x-delivery": "another" });
      expect(all.map(({ status }) => status).sort()).toEqual([200, 200, 200, 202]);
      expect(changed.status).toBe(200);
      expect(new Set([...all, changed].map(({ event }) => event)).size).toBe(1);
      expect((await replay({ "stripe-signature": `t=${time + 1},v1=${stripe}`, "webhook-id": "msg_2" })).status).toBe(
        401,
      );
    }
    const old = time - 301;
    const late = createHmac("sha256", secret).update(`${old}.{}`).digest("hex");
    expect(await post("stripe", { body: "{}", headers: { "stripe-signature": `t=${old},v1=${late}` } })).toEqual({
      status: 401,
      error: expect.stringContaining("more than 300 seconds"),
    });
  });

  test("of each sender are one event however often they are sent, without the header that proves the sender", async () => {
    const sign = (text: string, algorithm = "sha256") => createHmac(algorithm, secret).update(text).digest("base64");
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const sent: [string, string, Record<string, string>, Record<string, string>][] = [
      ["gitlab", "{}", { "x-gitlab-token": secret }, { "idempotency-key": "1" }],
      ["shopify", "{}", { "x-shopify-hmac-sha256": sign("{}") }, { "x-shopify-webhook-id": "1" }],
      ["typeform", "{}", { "typeform-signature": `sha256=${sign("{}")}` }, {}],
      ["twilio", "b=+2&a=1", { "x-twilio-signature": sign(`${publicUrl}${hooks["twilio"]}?x=%20a1b 2`, "sha1") }, form],
    ];
    for (const [name, body, proof, others] of sent) {
      const query = name === "twilio" ? "?x=%20" : "";
      const first = await post(name, { body, headers: { ...proof, ...others } }, query);
      expect([name, first]).toEqual([name, { status: 202, event: expect.any(String) }]);
      const again = await post(name, { body, headers: { ...proof, ...others } }, query);
      expect([name, again]).toEqual([name, { status: 200, event: first.event }]);
      const headers = Object.fromEntries(Object.entries(proof).map(([header, value]) => [header, `${value}zz`]));
      expect([name, (await post(name, { body, headers: { ...others, ...headers } }, query)).status]).toEqual([
        name,
        401,
      ]);
      const { node } = await request<{ node: { payload: Payload } }>(
        server,
        `query ($id: ID!) { node(id: $id) { ... on Event { payload } } }`,
        { id: first.event },
      );
      expect(Object.keys(proof).filter((header) => header in node.payload.headers)).toEqual([]);
    }
    expect((await post("token", { body: "{}", headers: { authorization: `Bearer ${secret}` } })).status).toBe(202);
    expect((await post("token", { body: "{}", headers: { authorization: `bearer ${secret}` } })).status).toBe(401);
  });

  test("may have an id of any length", async () => {
    const headers = { "x-delivery": "d".repeat(8000) };
    const first = await post("open", { body: "{}", headers });
    expect(first.status).toBe(202);
    expect(await post("open", { body: "{}", headers })).toEqual({ status: 200, event: first.event });
  });

  test("there are none while the trigger is disabled: 409", async () => {
    expect(await post("off", { body: "{}" })).toEqual({ status: 409, error: expect.stringContaining("default.off") });
  });

  test("use POST", async () => {
    for (const method of ["GET", "PUT", "DELETE"]) {
      const response = await fetch(`${server.url}${hooks["open"]}`, { method });
      expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
    }
  });
});

test("refused requests are stored up to a number and a size, and accepted ones without what their events contain", async () => {
  const headers = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`x-long-${i}`, "l".repeat(1000)]));
  for (let round = 0; round < 12; round += 1) {
    const all = await Promise.all(Array.from({ length: 10 }, () => post("flooded", { body: "{}", headers })));
    expect(all.every(({ status }) => status === 401)).toBe(true);
  }
  const body = "{}";
  const signature = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
  const delivery = { "x-hub-signature-256": signature, "x-delivery": "after the flood" };
  expect((await post("flooded", { body, headers: delivery })).status).toBe(202);
});

interface Deliveries {
  triggerByRef: {
    webhookDeliveries: {
      totalCount: { count: number };
      pageInfo: { endCursor: string; hasNextPage: boolean };
      nodes: {
        statusCode: number;
        error: string | null;
        size: number;
        event: { id: string } | null;
        received: string;
      }[];
    };
  };
}

test("deliveries are read with filters and in pages, by those who may read the trigger's events", async () => {
  const sent = await post("read", { body: "{}", headers: { "x-delivery": "to be read" } });
  const document = `query ($first: Int, $after: String, $where: WebhookDeliveryWhere) { triggerByRef(ref: "default.read") {
    webhookDeliveries(first: $first, after: $after, where: $where) { totalCount { count } pageInfo { endCursor hasNextPage }
      nodes { statusCode error size sourceIp headers durationMs signatureVerified deliveryId received event { id } } } } }`;
  const read = async (variables: object) =>
    (await request<Deliveries>(server, document, { ...variables })).triggerByRef.webhookDeliveries;
  const all = await read({ first: 100 });
  expect(all.nodes[0]).toMatchObject({
    statusCode: 202,
    error: null,
    size: 2,
    event: { id: sent.event },
    deliveryId: "to be read",
  });
  expect(all.totalCount.count).toBe(all.nodes.length);
  const long = await read({ where: { statusCode: { eq: 413 } } });
  expect(long.nodes.map(({ error, event }) => [error, event])).toEqual([
    ["the body is longer than 1000 bytes", null],
    ["the body is longer than 1000 bytes", null],
  ]);
  expect((await read({ where: { error: { contains: "charset" } } })).nodes).toHaveLength(2);
  expect((await read({ where: { deliveryId: { eq: "to be read" } } })).nodes).toHaveLength(1);
  expect((await read({ where: { event: { eq: sent.event } } })).nodes).toHaveLength(1);
  const paged: unknown[] = [];
  let after: string | null = null;
  for (let more = true; more; ) {
    const page = await read({ first: 5, after });
    paged.push(...page.nodes);
    after = page.pageInfo.endCursor;
    more = page.pageInfo.hasNextPage;
  }
  expect(paged).toEqual(all.nodes);

  const { createApiToken } = await request<{ createApiToken: { value: string } }>(
    server,
    `mutation { createPermissionSet(input: {ref: "default.triggers", grants: [{resource: "trigger", actions: ["read", "update"]}]}) { __typename }
      createApiToken(input: {label: "triggers", permissionSetRefs: ["default.triggers"]}) { ... on CreateApiTokenPayload { value } ... on Error { message } } }`,
  );
  const hidden = await request<Deliveries>({ ...server, token: createApiToken.value }, document);
  expect(hidden.triggerByRef.webhookDeliveries).toMatchObject({ totalCount: { count: 0 }, nodes: [] });
});

test("every refusal is stored with the reason and without the sender's credentials", async () => {
  const long = { body: "x".repeat(1001), headers: { authorization: "Bearer of-the-sender" } };
  expect(await post("open", long)).toEqual({ status: 413, error: expect.stringContaining("1000 bytes") });
  await server[Symbol.asyncDispose](); // only one process can open the embedded database
  await using services = await createServices(server.location);
  const deliveries = await services.db.query.webhookDeliveries.findMany({
    with: { trigger: true },
    where: { trigger: { ref: { ne: "default.read" } } },
    orderBy: { id: "asc" },
  });
  expect(JSON.stringify(deliveries.map(({ headers }) => headers))).not.toContain("of-the-sender");
  const ofFlood = deliveries.filter(({ trigger }) => trigger?.ref === "default.flooded");
  const flood = ofFlood.filter(({ error }) => error !== null);
  // Concurrent ones do not see each other.
  expect(flood.length).toBeGreaterThanOrEqual(100);
  expect(flood.length).toBeLessThan(110);
  expect(Math.max(...flood.map(({ headers }) => JSON.stringify(headers).length))).toBeLessThan(3000);
  const accepted = deliveries.filter(({ error }) => error === null);
  expect(accepted.length).toBeGreaterThan(5);
  expect(accepted.every(({ headers }) => Object.keys(headers).length === 0)).toBe(true);
  const isRefused = ({ error, trigger }: (typeof deliveries)[number]) =>
    error !== null && trigger?.ref !== "default.large";
  const refused = deliveries.filter((each) => isRefused(each) && !flood.some(({ id }) => each.id === id));
  expect(refused.every(({ eventId, sourceIp }) => eventId === null && sourceIp === "127.0.0.1")).toBe(true);
  const reasons = refused.map(({ trigger, statusCode, hmacVerified, size, error }) => [
    trigger?.ref,
    statusCode,
    hmacVerified,
    size,
    error,
  ]);
  expect(reasons).toEqual([
    ...Array.from({ length: 4 }, () => ["default.signed", 401, false, 2, expect.stringContaining("signature")]),
    ["default.signed", 401, false, 2, expect.stringContaining("x-delivery is missing")],
    ...["stripe", "standard"].map((name) => [`default.${name}`, 401, false, 2, expect.stringContaining("signature")]),
    ["default.stripe", 401, false, 2, expect.stringContaining("300 seconds")],
    ...["gitlab", "shopify", "typeform", "twilio", "token"].map((name) => [
      ...[`default.${name}`, 401, false, name === "twilio" ? 8 : 2, expect.stringContaining("signature")],
    ]),
    ["default.off", 409, null, 2, expect.stringContaining("disabled")],
    ["default.open", 413, null, 0, expect.stringContaining("longer than 1000 bytes")],
  ]);
});
