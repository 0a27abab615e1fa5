import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Link, readLink, signedPath } from "../../src/artifact/link.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { cloneDatabase } from "../support/database.ts";
import { request, type ServerProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const mib = 1024 * 1024;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
/** The keyring of the servers that tests start. */
const keyring = createKeyring(Buffer.from("42".repeat(32), "hex"));

let server: ServerProcess;
let directory: string;
beforeAll(async () => {
  const location = await cloneDatabase("core");
  directory = join(location.dataDir, "artifacts");
  server = await startProcess(location, { ATTUNE__ARTIFACTS__DIR: directory });
});
afterAll(() => server[Symbol.asyncDispose]());

interface Announced {
  ref: string;
  contentType: string;
  size: number;
  sha256: string;
}

async function announce(upload: Announced): Promise<string> {
  const { createArtifactUpload: result } = await request<{
    createArtifactUpload: { message?: string; upload?: { url: string; expiresAt: string; artifact: { ref: string } } };
  }>(
    server,
    `mutation ($input: CreateArtifactUploadInput!) { createArtifactUpload(input: $input) {
      ... on CreateArtifactUploadPayload { upload { url expiresAt artifact { ref } } } ... on Error { message } } }`,
    { input: { ...upload, type: "OTHER", size: String(upload.size) } },
  );
  if (!result.upload) throw new Error(result.message);
  expect(result.upload.artifact.ref).toBe(upload.ref);
  const minutes = (new Date(result.upload.expiresAt).getTime() - Date.now()) / 60_000;
  expect(minutes).toBeGreaterThan(14);
  expect(minutes).toBeLessThanOrEqual(15);
  return result.upload.url;
}

const announcementOf = (ref: string, bytes: Uint8Array, contentType = "text/plain") => ({
  ref,
  contentType,
  size: bytes.length,
  sha256: sha256(bytes),
});

async function put(path: string, body: Uint8Array<ArrayBuffer>, contentType = "text/plain") {
  const headers = { "content-type": contentType };
  const response = await fetch(`${server.url}${path}`, { method: "PUT", body, headers });
  return { status: response.status, ...((await response.json()) as { error?: string; version?: number; id?: string }) };
}

interface Version {
  id: string;
  version: number;
  size: string;
  sha256: string;
  downloadUrl: string;
}

async function versionsOf(ref: string): Promise<Version[]> {
  const { artifacts } = await request<{ artifacts: { nodes: { versions: { nodes: Version[] } }[] } }>(
    server,
    `query ($ref: String!) { artifacts(where: {ref: {eq: $ref}}) { nodes {
      versions(orderBy: {field: VERSION, direction: ASC}) { nodes { id version size sha256 downloadUrl } } } } }`,
    { ref },
  );
  return artifacts.nodes[0]?.versions.nodes ?? [];
}

/** Uploads the bytes and returns their download URL. */
async function upload(ref: string, bytes: Uint8Array<ArrayBuffer>, contentType = "text/plain"): Promise<string> {
  const response = await put(await announce(announcementOf(ref, bytes, contentType)), bytes, contentType);
  expect(response).toMatchObject({ status: 201 });
  const version = (await versionsOf(ref)).find(({ id }) => id === response.id);
  return version?.downloadUrl ?? "";
}

const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
  fetch(`${server.url}${path}`, { method, headers });

const filesOnDisk = () =>
  readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length;

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));

describe("an upload", () => {
  test("becomes the next version, and downloads as it was sent", async () => {
    const text = bytesOf("hello");
    const large = new Uint8Array(randomBytes(3 * mib));
    await upload("up/load", text);
    const url = await upload("up/load", large, "application/octet-stream");
    expect(await versionsOf("up/load")).toMatchObject([
      { version: 1, size: "5", sha256: sha256(text) },
      { version: 2, size: String(3 * mib), sha256: sha256(large) },
    ]);
    const response = await get(url);
    expect(response.status).toBe(200);
    expect(Buffer.from(await response.arrayBuffer()).equals(large)).toBe(true);
  });

  test("works once", async () => {
    const bytes = bytesOf("only once");
    const url = await announce(announcementOf("up/once", bytes));
    expect(await put(url, bytes)).toMatchObject({ status: 201, version: 1 });
    expect(await put(url, bytes)).toEqual({ status: 409, error: "This link has been used: request a new one." });
    expect(await versionsOf("up/once")).toHaveLength(1);
  });

  test("works once, even when it is sent twice at the same time", async () => {
    for (let round = 0; round < 5; round += 1) {
      const bytes = new Uint8Array(randomBytes(2 * mib));
      const before = filesOnDisk();
      const url = await announce(announcementOf(`up/twice/${round}`, bytes));
      const statuses = (await Promise.all([put(url, bytes), put(url, bytes)])).map(({ status }) => status);
      expect(statuses.sort()).toEqual([201, 409]);
      expect(await versionsOf(`up/twice/${round}`)).toHaveLength(1);
      expect(filesOnDisk()).toBe(before + 1);
    }
  });

  test("of another size, hash or type is refused, and nothing is stored", async () => {
    const bytes = new Uint8Array(randomBytes(2 * mib));
    const other = new Uint8Array(randomBytes(2 * mib));
    const before = filesOnDisk();
    const url = await announce(announcementOf("up/refused", bytes));
    expect(await put(url, new Uint8Array([...bytes, 0]))).toMatchObject({ status: 413, error: expect.any(String) });
    expect(await put(url, bytes.slice(1))).toMatchObject({
      status: 422,
      error: expect.stringContaining("2097152 bytes"),
    });
    expect(await put(url, other)).toMatchObject({ status: 422, error: expect.stringContaining("sha256: must be") });
    expect(await put(url, bytes, "text/html")).toMatchObject({
      status: 422,
      error: expect.stringContaining("text/plain"),
    });
    // Also without a content-length header.
    expect(await chunked(url, [bytes, new Uint8Array(1)])).toMatchObject({ status: 413 });
    expect(await chunked(url, [bytes.slice(0, mib)])).toMatchObject({ status: 422 });
    expect(await versionsOf("up/refused")).toEqual([]);
    expect(filesOnDisk()).toBe(before);
    expect(await chunked(url, [bytes.slice(0, mib), bytes.slice(mib)])).toMatchObject({ status: 201 });
  });

  test("that is interrupted stores nothing, and can be retried", async () => {
    const bytes = new Uint8Array(randomBytes(2 * mib));
    const before = filesOnDisk();
    const url = await announce(announcementOf("up/broken", bytes));
    await new Promise<void>((resolve) => {
      const headers = { "content-type": "text/plain", "content-length": String(bytes.length) };
      const sending = httpRequest(`${server.url}${url}`, { method: "PUT", headers });
      sending.on("error", () => resolve());
      sending.write(bytes.subarray(0, bytes.length - 1), () => sending.destroy(new Error("gone")));
    });
    expect(await put(url, bytes)).toMatchObject({ status: 201 });
    // The interrupted request removes its temporary file when it notices the end of its connection.
    await until(() => filesOnDisk() === before + 1, "one more file");
    expect(server.output()).not.toContain("request failed");
  });

  test("accepts only PUT, a download only GET and HEAD", async () => {
    const bytes = bytesOf("x");
    const path = await announce(announcementOf("up/method", bytes));
    expect((await get(path)).status).toBe(405);
    const url = await upload("up/method", bytes);
    expect((await get(url, {}, "POST")).status).toBe(405);
    expect((await get(url, {}, "HEAD")).headers.get("content-length")).toBe("1");
  });
});

/** Sends a body without a content-length header. */
function chunked(path: string, pieces: Uint8Array[]): Promise<{ status: number }> {
  return new Promise((resolve, reject) => {
    const sending = httpRequest(`${server.url}${path}`, { method: "PUT", headers: { "content-type": "text/plain" } });
    sending.on("response", (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0 });
    });
    sending.on("error", reject); // ignored once the response has arrived
    for (const piece of pieces) sending.write(piece);
    sending.end();
  });
}

describe("a link", () => {
  let link: Link;
  let sending: Link & { upload: NonNullable<Link["upload"]> };
  const bytes = bytesOf("signed");
  beforeAll(async () => {
    const readUrl = await upload("link/read", bytes);
    link = readLink(keyring, new URL(readUrl, "http://x"), Date.now());
    const read = readLink(keyring, new URL(await announce(announcementOf("link/send", bytes)), "http://x"), Date.now());
    if (!read.upload) throw new Error("the link is not an upload");
    sending = { ...read, upload: read.upload };
  });

  const altered = (path: string, change: (url: URL) => void) => {
    const url = new URL(path, "http://x");
    change(url);
    return `${url.pathname}${url.search}`;
  };
  const set = (name: string, value: string) => (url: URL) => url.searchParams.set(name, value);
  const flipped = (url: URL) => {
    const signature = url.searchParams.get("signature") ?? "";
    // Each character counts, even the last, two bits of which carry no data.
    const last = signature.endsWith("A") ? "B" : "A";
    url.searchParams.set("signature", `${signature.slice(0, -1)}${last}`);
  };
  const refusal = { error: "The link has no valid signature: request a new one." };

  test.each<[string, (url: URL) => void]>([
    ["version", (url) => (url.pathname = `/artifacts/${link.id + 1n}`)],
    ["expiry", (url) => set("expires", String(link.expires + 1))(url)],
    ["session", (url) => set("token", String(link.token + 1n))(url)],
    ["session left out", (url) => url.searchParams.delete("token")],
    ["signature", flipped],
    ["signature left out", (url) => url.searchParams.delete("signature")],
    ["signature cut", (url) => set("signature", (url.searchParams.get("signature") ?? "").slice(0, -1))(url)],
  ])("for a download is refused with another %s", async (_name, change) => {
    const path = signedPath(keyring, link);
    expect((await get(path)).status).toBe(200);
    const response = await get(altered(path, change));
    expect({ status: response.status, ...((await response.json()) as object) }).toEqual({ status: 403, ...refusal });
  });

  test.each<[string, (url: URL) => void]>([
    ["artifact", (url) => (url.pathname = `/artifacts/upload/${sending.id + 1n}`)],
    ["expiry", (url) => set("expires", String(sending.expires + 1))(url)],
    ["session", (url) => set("token", "0")(url)],
    ["size", (url) => set("size", String(sending.upload.size + 1))(url)],
    ["hash", (url) => set("sha256", sha256(bytesOf("another")))(url)],
    ["type", (url) => set("type", "text/html")(url)],
    ["use", (url) => set("once", randomUUID())(url)],
    ["signature", flipped],
  ])("for an upload is refused with another %s", async (_name, change) => {
    const path = altered(signedPath(keyring, sending), change);
    expect(await put(path, bytes)).toEqual({ status: 403, ...refusal });
    expect(await versionsOf("link/send")).toEqual([]);
  });

  test("for a download cannot be turned into one for an upload, or vice versa", async () => {
    const reading = new URL(signedPath(keyring, link), "http://x");
    const { upload } = sending;
    const asUpload = new URLSearchParams({ ...Object.fromEntries(reading.searchParams), size: String(upload.size) });
    for (const [name, value] of Object.entries({
      sha256: upload.sha256,
      type: upload.contentType,
      once: upload.once,
    })) {
      asUpload.set(name, value);
    }
    expect(await put(`/artifacts/upload/${link.id}?${asUpload}`, bytes)).toMatchObject({ status: 403 });
    const asReading = signedPath(keyring, sending).replace("/upload/", "/");
    expect((await get(asReading)).status).toBe(403);
  });

  test("that has expired is refused with that reason", async () => {
    const expires = Date.now() - 1;
    const response = await get(signedPath(keyring, { ...link, expires }));
    expect({ status: response.status, ...((await response.json()) as object) }).toEqual({
      status: 403,
      error: "The link has expired: request a new one.",
    });
    expect(await put(signedPath(keyring, { ...sending, expires }), bytes)).toMatchObject({ status: 403 });
  });

  test("signed with another key, or for a deleted artifact, is refused", async () => {
    const foreign = createKeyring(Buffer.alloc(32, 7));
    expect((await get(signedPath(foreign, link))).status).toBe(403);
    expect((await get(signedPath(keyring, { ...link, id: 999_999n }))).status).toBe(404);
    expect(await put(signedPath(keyring, { ...sending, id: 999_999n }), bytes)).toMatchObject({ status: 404 });
    for (const path of ["/artifacts/", "/artifacts/x", "/artifacts/upload/", "/artifacts/1/2", "/artifacts/%00"]) {
      expect((await get(path, {}, path.includes("upload") ? "PUT" : "GET")).status).toBe(403);
    }
  });

  test("expires with its session", async () => {
    const { createApiToken: token } = await request<{ createApiToken: { value: string; apiToken: { id: string } } }>(
      server,
      `mutation { createApiToken(input: {label: "short"}) { ... on CreateApiTokenPayload { value apiToken { id } } } }`,
    );
    const { artifacts } = await request<{ artifacts: { nodes: { versions: { nodes: Version[] } }[] } }>(
      { url: server.url, token: token.value },
      `{ artifacts(where: {ref: {eq: "link/read"}}) { nodes { versions { nodes { downloadUrl } } } } }`,
    );
    const url = artifacts.nodes[0]?.versions.nodes[0]?.downloadUrl ?? "";
    expect((await get(url)).status).toBe(200);
    await request(server, `mutation ($id: ID!) { revokeApiToken(input: {id: $id}) { __typename } }`, token.apiToken);
    const response = await get(url);
    expect({ status: response.status, ...((await response.json()) as object) }).toEqual({
      status: 403,
      error: "The link's session has ended: sign in and request a new one.",
    });
  });
});

describe("a download", () => {
  const text = bytesOf("0123456789");
  let url: string;
  beforeAll(async () => {
    url = await upload("down/täst 'file'.html", bytesOf("<script>alert(1)</script>"), "text/html");
  });

  test("is never shown or run on this origin", async () => {
    const { headers } = await get(url);
    expect(Object.fromEntries(headers)).toMatchObject({
      "content-type": "text/html",
      "content-disposition": "attachment; filename*=UTF-8''t%C3%A4st%20%27file%27.html",
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox",
      "cache-control": "private, no-store",
      "referrer-policy": "no-referrer",
      "cross-origin-resource-policy": "same-origin",
    });
  });

  test("is not sent again to a client that has it", async () => {
    const etag = (await get(url)).headers.get("etag") ?? "";
    expect(etag).toBe(`"${sha256(bytesOf("<script>alert(1)</script>"))}"`);
    for (const [given, status] of [
      [etag, 304],
      [`"other", ${etag}`, 304],
      [`W/${etag}`, 304],
      ["*", 304],
      [`"other"`, 200],
    ] as const) {
      const response = await get(url, { "if-none-match": given });
      expect({ given, status: response.status }).toEqual({ given, status });
      if (status === 304) expect(await response.text()).toBe("");
    }
  });

  test("of a range returns only that range", async () => {
    const small = await upload("down/range", text);
    const etag = (await get(small)).headers.get("etag") ?? "";
    for (const [range, status, expected, contentRange] of [
      ["bytes=0-0", 206, "0", "bytes 0-0/10"],
      ["bytes=3-5", 206, "345", "bytes 3-5/10"],
      ["bytes=7-", 206, "789", "bytes 7-9/10"],
      ["bytes=7-99", 206, "789", "bytes 7-9/10"],
      ["bytes=-2", 206, "89", "bytes 8-9/10"],
      ["bytes=-99", 206, "0123456789", "bytes 0-9/10"],
      ["bytes=10-", 416, "", "bytes */10"],
      ["bytes=-0", 416, "", "bytes */10"],
      ["bytes=5-3", 200, "0123456789", null],
      ["bytes=0-1,3-4", 200, "0123456789", null],
      ["lines=0-1", 200, "0123456789", null],
    ] as const) {
      const response = await get(small, { range });
      const got = { range, status: response.status, text: await response.text() };
      expect(got).toEqual({ range, status, text: expected });
      expect(response.headers.get("content-range")).toBe(contentRange);
      expect(response.headers.get("content-length")).toBe(String(expected.length));
    }
    const old = await get(small, { range: "bytes=0-0", "if-range": '"other"' });
    expect([old.status, await old.text()]).toEqual([200, "0123456789"]);
    expect((await get(small, { range: "bytes=0-0", "if-range": etag })).status).toBe(206);
  });

  test("of a range of a large file returns that range, and of an empty file an empty body", async () => {
    const bytes = new Uint8Array(randomBytes(2 * mib));
    const large = await upload("down/large", bytes, "application/octet-stream");
    const part = await get(large, { range: `bytes=${mib - 5}-${mib + 300_000}` });
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(mib - 5, mib + 300_001))).toBe(true);
    const empty = await get(await upload("down/empty", new Uint8Array()));
    expect([empty.status, await empty.text()]).toEqual([200, ""]);
  });

  test("and an upload are recorded in the audit trail, with the user", async () => {
    const { auditEvents } = await request<{ auditEvents: { nodes: { eventType: string; actorLogin: string }[] } }>(
      server,
      `{ auditEvents(where: {resourceRef: {eq: "down/range"}}, orderBy: {field: CREATED, direction: ASC}) { nodes { eventType actorLogin } } }`,
    );
    expect(auditEvents.nodes.slice(0, 3)).toMatchObject([
      { eventType: "createArtifactUpload", actorLogin: "admin" },
      { eventType: "uploadArtifact", actorLogin: "admin" },
      { eventType: "downloadArtifact", actorLogin: "admin" },
    ]);
  });
});

describe("memory", () => {
  const size = 64 * mib;
  const block = randomBytes(mib);
  const rss = () =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.child.pid}/status`, "utf8"))?.[1]) * 1024;

  /** The peak growth of the server's memory during the work. */
  async function growth(work: () => Promise<void>): Promise<number> {
    const before = rss();
    let peak = before;
    const watching = setInterval(() => {
      peak = Math.max(peak, rss());
    }, 5);
    await work();
    clearInterval(watching);
    return Math.max(peak, rss()) - before;
  }

  test("stays flat while 64 MiB are sent and read", async () => {
    const hash = createHash("sha256");
    for (let n = 0; n < 64; n += 1) hash.update(block);
    const expected = hash.digest("hex");
    const path = await announce({ ref: "memory", contentType: "application/zip", size, sha256: expected });
    const sent = await growth(async () => {
      const body = new ReadableStream({
        start: (controller) => {
          for (let n = 0; n < 64; n += 1) controller.enqueue(block);
          controller.close();
        },
      });
      const headers = { "content-type": "application/zip" };
      const init = { method: "PUT", body, headers, duplex: "half" } as RequestInit; // the types lack `duplex`
      expect((await fetch(`${server.url}${path}`, init)).status).toBe(201);
    });
    const url = (await versionsOf("memory"))[0]?.downloadUrl ?? "";
    const read = createHash("sha256");
    const received = await growth(async () => {
      for await (const piece of (await get(url)).body ?? []) read.update(piece);
    });
    expect(read.digest("hex")).toBe(expected);
    expect(Math.max(sent, received)).toBeLessThan(48 * mib);
  });
});
