import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningServer, request, startInProcess } from "../support/server.ts";

// Whatever a sender sends: no failure of the server, a reason for each refusal, and every stored event can be read again.

const seed = Number(process.env["FUZZ_SEED"] ?? 7);

let server: RunningServer;
let path: string;
beforeAll(async () => {
  server = await startInProcess(undefined, { ATTUNE__ROLES: "api" });
  const { enableWebhook } = await request<{ enableWebhook: { path: string } }>(
    server,
    `mutation { createTrigger(input: {ref: "default.any"}) { __typename }
      enableWebhook(input: {trigger: "default.any", maxBytes: 20000}) { ... on EnableWebhookPayload { path } } }`,
  );
  path = enableWebhook.path;
});
afterAll(() => server[Symbol.asyncDispose]());

const boundary = "----x";
const part = fc.tuple(fc.stringMatching(/^[a-z]{0,5}$/), fc.string({ unit: "binary", maxLength: 20 }));
const fileName = fc.oneof(
  fc.constantFrom("", '; filename=""', '; filename="a.txt"\r\ncontent-type: text/plain'),
  fc.string({ unit: "binary", maxLength: 10 }).map((name) => `; filename="${name.replaceAll(/["\r\n]/g, "")}"`),
);
const field = fc.tuple(fc.stringMatching(/^[a-z]{0,5}$/), fc.string({ unit: "binary", maxLength: 20 }), fileName);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.string({ unit: "binary", maxLength: 100 }).map((text) => new TextEncoder().encode(text)),
  fc.json({ maxDepth: 6, stringUnit: "binary" }).map((text) => new TextEncoder().encode(text)),
  // Almost JSON: numbers that lose digits, escapes that no text can have, deep nesting, an unfinished end.
  fc
    .constantFrom(
      ...["12345678901234567890", "1e9999", "-0", '"\\ud800"', '"\\u0000"', '{"a": NaN}', '{"a": 1, "a": 2}', "[1,"],
      ...[
        `${"[".repeat(2000)}${"]".repeat(2000)}`,
        '{"__proto__": {"x": 1}}',
        '{"constructor": 1}',
        "",
        " ",
        "\u{feff}{}",
      ],
    )
    .map((text) => new TextEncoder().encode(text)),
  fc.array(part, { maxLength: 3 }).map((parts) => new TextEncoder().encode(String(new URLSearchParams(parts)))),
  fc.array(field, { maxLength: 3 }).map((parts) => {
    const text = parts.map(
      ([name, value, file]) =>
        `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n${value}\r\n`,
    );
    return new TextEncoder().encode(`${text.join("")}--${boundary}--\r\n`);
  }),
);
const types = fc.oneof(
  fc.constantFrom(
    ...[
      "application/json",
      "application/JSON; charset=utf-16le",
      "application/json",
      "application/vnd.x+json",
      "text/plain",
      "text/plain; charset=latin1",
    ],
    ...[
      "application/x-www-form-urlencoded",
      "application/X-WWW-Form-UrlEncoded; charset=windows-1252",
      "application/octet-stream",
    ],
    ...[
      `multipart/form-data; boundary=${boundary}`,
      "multipart/form-data",
      "text/xml",
      "text/plain; charset=klingon",
      ";;;",
      "json",
    ],
  ),
  fc.stringMatching(/^[ -~]{0,30}$/),
);
const encoders: Readonly<Record<string, (body: Uint8Array) => Uint8Array>> = {
  identity: (body) => body,
  gzip: gzipSync,
  br: brotliCompressSync,
  deflate: deflateSync,
  "deflate ": deflateRawSync,
};
const encodings = fc.oneof(
  fc
    .constantFrom(...Object.keys(encoders))
    .map((name) => ({ header: name, encode: encoders[name] ?? encoders["identity"] })),
  // The header and the bytes do not agree.
  fc
    .constantFrom("gzip", "br", "deflate", "zstd", "gzip, br", "identity")
    .map((header) => ({ header, encode: encoders["identity"] })),
);
const queries = fc.stringMatching(/^[ -~]{0,20}$/).map((text) => (text === "" ? "" : `?${encodeURI(text)}`));

/** The text of a value whose keys have one order, and whose zeros have no sign. */
function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${canonical(item)}`).join()}}`;
}

/** What an accepted body must be read as, where that is plain. */
function meaning(body: Uint8Array, type: string): string | null {
  if (body.length === 0) return "null";
  const text = new TextDecoder().decode(body);
  if (type === "application/json" || type === "application/vnd.x+json") return canonical(JSON.parse(text));
  return type === "text/plain" || type === "text/xml" ? JSON.stringify(text === "" ? null : text) : null;
}

test("random bodies, types and encodings are stored or refused with a reason, and what is stored can be read", async () => {
  const accepted: string[] = [];
  const meant = new Map<string, string>();
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(bytes, types, encodings, queries, async (body, type, { header, encode }, query) => {
      const sent = (encode ?? ((same: Uint8Array) => same))(body);
      const response = await fetch(`${server.url}${path}${query}`, {
        method: "POST",
        headers: { "content-type": type, "content-encoding": header },
        body: new Uint8Array(sent),
      });
      const text = await response.text();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      const { event, error } = JSON.parse(text) as { event?: string; error?: string };
      if (response.status === 202) {
        accepted.push(event ?? "");
        const text = meaning(body, type);
        if (text !== null) meant.set(event ?? "", text);
      } else expect([400, 413].includes(response.status) && error, `${response.status} ${text}`).toBeTruthy();
    }),
    { numRuns: 600, seed },
  );
  expect([...statuses.keys()].sort()).toEqual(expect.arrayContaining([202, 400]));
  expect(statuses.get(202)).toBeGreaterThan(100);
  for (let from = 0; from < accepted.length; from += 100) {
    const { nodes } = await request<{ nodes: ({ id: string; payload: { body: unknown } } | null)[] }>(
      server,
      "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Event { id payload config } } }",
      { ids: accepted.slice(from, from + 100) },
    );
    for (const node of nodes) {
      expect(node?.payload).toHaveProperty("body");
      const text = meant.get(node?.id ?? "");
      if (text !== undefined) expect(canonical(node?.payload.body)).toBe(text);
    }
  }
  expect(meant.size).toBeGreaterThan(30);
});
