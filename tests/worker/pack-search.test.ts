import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packIndex } from "../../src/catalog/pack-index.ts";
import { searchPacks } from "../../src/catalog/pack-search.ts";
import { createLog } from "../../src/log.ts";
import { createIndexCache } from "../../src/worker/install/index-cache.ts";
import { runCommand } from "../support/cli.ts";
import { packDirectories } from "../support/pack.ts";
import { type RunningServer, startInProcess } from "../support/server.ts";

const directories = packDirectories();
const scratch = mkdtempSync(join(tmpdir(), "attune-indexes-"));
/** What the server of the indexes has, by path: a content with its ETag, a status, or where it redirects to. */
const served = new Map<string, { content: string | Buffer; etag?: string } | number | string>();
let site: Server;
let origin: string;
/** What was asked: the path, and the ETag that was sent, if any. */
const asked: string[] = [];

beforeAll(async () => {
  site = createServer((request, response) => {
    const { url = "", headers } = request;
    asked.push([url, headers["if-none-match"]].filter(Boolean).join(" "));
    const found = served.get(url) ?? 404;
    if (typeof found === "number") response.writeHead(found).end();
    else if (typeof found === "string") response.writeHead(302, { location: found }).end();
    else if (found.etag !== undefined && headers["if-none-match"] === found.etag) response.writeHead(304).end();
    else response.writeHead(200, found.etag === undefined ? {} : { etag: found.etag }).end(found.content);
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
});
afterAll(() => {
  site.close();
  rmSync(scratch, { recursive: true });
});

const source = { type: "git", url: "https://example.org/x.git", ref: "v1" };
const entry = (ref: string, version: string, more: object = {}) => ({
  ...{ ref, label: ref, version, install_sources: [source] },
  ...more,
});
const indexOf = (...packs: object[]) => packIndex.parse({ packs });

const first = indexOf(
  entry("mail", "1.0.0", { label: "Electronic Mail", tags: ["smtp", "Notify"], description: "Sends letters." }),
  entry("mail", "2.1.0", { label: "Electronic Mail", tags: ["smtp", "Notify"], description: "Sends letters by SMTP." }),
  entry("mail", "3.0.0-beta.1"),
  entry("chat", "0.1.0", { description: "Sends messages, and mail too." }),
);
const second = indexOf(
  entry("mail", "9.0.0", { label: "Another" }),
  entry("mailing_lists", "1.0.0", { tags: ["lists"] }),
  entry("early", "1.0.0-alpha.1"),
);

describe("a search", () => {
  test.each([
    ["mail", ["mail", "mailing_lists", "chat"]],
    ["MAIL smtp", ["mail"]],
    ["notify", ["mail"]],
    ["electronic", ["mail"]],
    ["letters  sends", ["mail"]],
    ["sends", ["chat", "mail"]],
    ["another", []],
    ["lists", ["mailing_lists"]],
    ["mail nothing", []],
    ["", ["chat", "mail", "early", "mailing_lists"]],
  ])("for %j finds %j", (text, refs) => {
    expect(searchPacks([first, second], text).map(({ ref }) => ref)).toEqual(refs);
  });

  test("takes a pack from the first index that has it, in its highest version that is no early one", () => {
    const found = searchPacks([first, second], "mail")[0];
    expect(found).toMatchObject({ ref: "mail", version: "2.1.0", index: 0, tags: ["smtp", "Notify"] });
    expect(found?.versions).toEqual(["2.1.0", "1.0.0", "3.0.0-beta.1"]);
    expect(searchPacks([second, first], "mail")[0]).toMatchObject({ version: "9.0.0", index: 0 });
    expect(searchPacks([second], "early")).toMatchObject([{ version: "1.0.0-alpha.1" }]);
  });
});

describe("an index", () => {
  const log = createLog({ level: "silent", format: "json" });
  let number = 0;
  /** Returns a cache in a directory of its own, or in that one. */
  const open = (
    paths: readonly string[],
    { ageMs = 0, at = join(scratch, `cache-${++number}`), allowed = [origin] } = {},
  ) => ({
    ...createIndexCache({
      ...{
        addresses: paths.map((path) => (path.includes(":") ? path : origin + path)),
        allowed,
        directory: at,
        ageMs,
        log,
      },
    }),
    directory: at,
  });
  const read = async (cache: ReturnType<typeof open>) => {
    const known = await cache.read(new AbortController().signal);
    return known.map(({ index, fault, checkedAt }) => ({
      ...{ refs: index?.packs.map(({ ref }) => ref) ?? null, fault, isKnown: checkedAt !== null },
    }));
  };
  const content = (...packs: object[]) => JSON.stringify({ packs });
  const known = (...refs: string[]) => ({ refs, fault: null, isKnown: true });

  test("is asked once within its age, then by its ETag, also by the next process", async () => {
    served.set("/a.json", { content: content(entry("one", "1.0.0")), etag: '"1"' });
    asked.length = 0;
    const young = open(["/a.json"], { ageMs: 3600_000 });
    expect(await read(young)).toEqual([known("one")]);
    expect(await Promise.all([read(young), read(young)])).toEqual([[known("one")], [known("one")]]);
    expect(asked).toEqual(["/a.json"]);
    const next = open(["/a.json"], { at: young.directory });
    expect(await read(next)).toEqual([known("one")]);
    served.set("/a.json", { content: content(entry("two", "1.0.0")), etag: '"2"' });
    expect(await read(next)).toEqual([known("two")]);
    expect(await read(next)).toEqual([known("two")]);
    expect(asked).toEqual(["/a.json", '/a.json "1"', '/a.json "1"', '/a.json "2"']);
  });

  test("that cannot be reached, or is none, is used as it was, which is said; searches meanwhile do not ask again", async () => {
    served.set("/b.json", { content: content(entry("kept", "1.0.0")) });
    const cache = open(["/b.json"]);
    expect(await read(cache)).toEqual([known("kept")]);
    const stale = (fault: string) => [{ refs: ["kept"], fault: expect.stringContaining(fault), isKnown: true }];
    served.set("/b.json", 503);
    expect(await read(cache)).toEqual(stale("status 503"));
    served.set("/b.json", { content: "<html>" });
    expect(await read(cache)).toEqual(stale("no JSON"));
    served.set("/b.json", { content: content({ ref: "xy" }) });
    expect(await read(cache)).toEqual(stale("packs.0.label"));
    served.set("/b.json", { content: " ".repeat(16 * 1024 * 1024 + 1) });
    expect(await read(cache)).toEqual(stale("larger than 16 MiB"));
    served.set("/b.json", { content: content(entry("new", "1.0.0")) });
    expect(await read(cache)).toEqual([known("new")]);
    served.set("/c.json", 500);
    asked.length = 0;
    const failing = open(["/c.json"], { ageMs: 3600_000 });
    const never = { refs: null, fault: expect.stringContaining("status 500"), isKnown: false };
    expect([await read(failing), await read(failing)]).toEqual([[never], [never]]);
    expect(asked).toEqual(["/c.json"]);
  });

  test("comes from where packs may come from only, also after redirects", async () => {
    const refused = async (address: string, allowed: string[] = []) =>
      (await read(open([address], { allowed })))[0]?.fault;
    expect(await refused(`${origin}/a.json`)).toContain("packs come by https");
    expect(await refused("https://127.0.0.1:1/a.json")).toContain("has no public address");
    expect(await refused("https://example.org/a.json", ["example.com"])).toContain("is not listed");
    expect(await refused("https://user:secret@example.org/a.json")).toContain("must not have a user");
    served.set("/away.json", "http://127.0.0.2:1/a.json");
    expect(await refused(`${origin}/away.json`, [origin])).toContain("packs come by https");
  });

  test("has one file, which is read anew when it is damaged, and goes with the setting", async () => {
    served.set("/d.json", { content: content(entry("whole", "1.0.0")), etag: '"d"' });
    served.set("/e.json", { content: content(entry("other", "1.0.0")) });
    const both = open(["/d.json", "/e.json"], { ageMs: 3600_000 });
    expect(await read(both)).toEqual([known("whole"), known("other")]);
    const files = () => readdirSync(join(both.directory, ".indexes"));
    expect(files()).toHaveLength(2);
    const one = open(["/d.json"], { at: both.directory });
    expect(await read(one)).toEqual([known("whole")]);
    expect(files()).toHaveLength(1);
    const file = join(both.directory, ".indexes", files()[0] ?? "");
    writeFileSync(file, readFileSync(file, "utf8").slice(0, 50));
    expect(await read(open(["/d.json"], { at: both.directory, ageMs: 3600_000 }))).toEqual([known("whole")]);
  });
});

describe("attune pack search", () => {
  let server: RunningServer;
  beforeAll(async () => {
    served.set("/first.json", { content: JSON.stringify(first), etag: '"first"' });
    served.set("/second.json?token=secret", {
      content: JSON.stringify({ packs: [...second.packs, entry("core", "99.0.0")] }),
    });
    server = await startInProcess(undefined, {
      ATTUNE__PACKS__SOURCES: origin,
      ATTUNE__PACKS__INDEXES: `${origin}/first.json,${origin}/second.json?token=secret`,
      ATTUNE__PACKS__INDEX_SECONDS: "0",
    });
  });
  afterAll(() => server[Symbol.asyncDispose]());
  const search = (...args: string[]) => runCommand(["pack", "search", ...args], { server });

  test("prints what it finds, with the version that is installed", async () => {
    const found = await search("mail");
    expect(found).toMatchObject({ code: 0, stderr: "" });
    expect(found.stdout).toMatch(/^REF +VERSION +INSTALLED .*\nmail +2\.1\.0 .*smtp.*\nmailing_lists .*\nchat .*\n$/);
    const core = JSON.parse((await search("core", "--output", "json")).stdout);
    expect(core).toMatchObject({
      totalCount: 1,
      packs: [
        {
          ref: "core",
          version: "99.0.0",
          installedVersion: expect.stringMatching(/^\d/),
          index: `${origin}/second.json`,
        },
      ],
      indexes: [
        { isStale: false, packCount: 4 },
        { address: `${origin}/second.json`, isStale: false },
      ],
    });
    expect(JSON.stringify(core)).not.toContain("secret");
    expect(await search("--limit", "1")).toMatchObject({ stderr: "1 of 5 are shown; --limit shows more.\n" });
    expect(await search("nothing")).toMatchObject({ code: 0, stdout: "", stderr: "No pack has all of these words.\n" });
  });

  test("finds what install brings with a pack: people see the names, programs all of it", async () => {
    const archived = (ref: string, version: string, needs = "") => {
      const files = directories({
        "pack.yaml": `ref: ${ref}\nlabel: ${ref}\nversion: ${version}\ndependencies: [${needs}]\n`,
      });
      const path = join(scratch, `${ref}-${version}.tar.gz`);
      execFileSync("tar", ["-czf", path, "-C", files, "."]);
      const content = readFileSync(path);
      const checksum = createHash("sha256").update(content).digest("hex");
      const url = `${origin}/${ref}-${version}.tar.gz`;
      served.set(new URL(url).pathname, { content });
      return entry(ref, version, { install_sources: [{ type: "archive", url, checksum }] });
    };
    const publish = (...packs: object[]) =>
      served.set("/second.json?token=secret", { content: JSON.stringify({ packs }) });
    const install = (name: string, ...more: string[]) =>
      runCommand(["pack", "install", name, "--with-dependencies", ...more], { server });
    publish(archived("upper", "1.0.0", "lower"), archived("lower", "1.0.0"));
    const { code, stdout } = await install("upper");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^pack: +upper\nversion: +1\.0\.0\nchanged: +yes\ndependencies: +lower 1\.0\.0\ndigest: +[0-9a-f]{64}\n$/,
    );
    publish(archived("third", "1.0.0", "'lower@2'"), archived("lower", "2.0.0"));
    expect(JSON.parse((await install("third", "--output", "json")).stdout)).toMatchObject({
      ...{ pack: "third", dependencies: [{ pack: "lower", version: "2.0.0", previous_version: "1.0.0" }] },
    });
    publish(archived("fourth", "1.0.0", "'lower@3'"), archived("lower", "3.0.0"));
    const refused = await install("fourth");
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toMatch(/\nlower: pack\.yaml:3:10 version: the pack "third" 1\.0\.0 needs lower@2: /);
  });

  test("says which indexes are as they were, and fails where none can be read", async () => {
    served.set("/first.json", 502);
    const stale = await search("letters");
    expect(stale).toMatchObject({ code: 0, stdout: expect.stringContaining("mail") });
    expect(stale.stderr).toMatch(
      /^The index \S+\/first\.json cannot be read \(.*status 502\): what it had at \S+Z is searched\.\n$/,
    );
    const settings = { ATTUNE__PACKS__SOURCES: origin, ATTUNE__PACKS__INDEXES: `${origin}/missing.json` };
    await using without = await startInProcess(undefined, settings);
    expect(await runCommand(["pack", "search", "x"], { server: without })).toMatchObject({
      ...{
        code: 1,
        stdout: "",
        stderr: expect.stringMatching(/status 404\): it is left out\.\nerror: No index can be read\./),
      },
    });
  });
});
