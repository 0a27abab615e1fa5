import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPack, deletePack } from "../../src/catalog/pack.ts";
import { readPack } from "../../src/catalog/read.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { type InstallPackInput, installPack } from "../../src/execution/install-pack.ts";
import { readSteps } from "../../src/execution/install-steps.ts";
import { SourceError, unpack } from "../../src/worker/install/archive.ts";
import { removeReleases } from "../../src/worker/install/care.ts";
import { checkUrl, open } from "../../src/worker/install/fetch.ts";
import { localEnvironments } from "../../src/worker/pack-test/local.ts";
import { createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const scratch = mkdtempSync(join(tmpdir(), "attune-install-"));
const directories = packDirectories();
const longMs = 60_000;
let world: World;
let site: Server;
let origin: string;
/** What the server on loopback has, by path: a content, where it redirects to, or nothing that ever arrives. */
const served = new Map<string, Buffer | string | null>();
/** The paths that were asked for, with 304 where nothing had changed. */
const asked: string[] = [];
let installDir: string;

beforeAll(async () => {
  site = createServer((request, response) => {
    const found = served.get(request.url ?? "");
    const etag = Buffer.isBuffer(found) ? `"${createHash("sha256").update(found).digest("hex")}"` : null;
    const isKnown = etag !== null && request.headers["if-none-match"] === etag;
    asked.push(`${request.url} ${isKnown ? 304 : ""}`.trim());
    if (isKnown) return void response.writeHead(304).end();
    if (etag !== null) response.setHeader("etag", etag);
    if (found === undefined) response.writeHead(404).end();
    else if (found === null) response.flushHeaders();
    else if (typeof found === "string") response.writeHead(302, { location: found }).end();
    else response.end(found);
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  world = await createWorld();
  installDir = join(scratch, "packs");
  await world.startWorker(4, 10_000, [], {
    installs: {
      directory: installDir,
      sources: [origin, "file://"],
      indexes: [`${origin}/first.json`, `${origin}/second.json`],
    },
  });
});
afterAll(async () => {
  site.close();
  site.closeAllConnections();
  await world[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

/** Runs a program in Python that writes an archive to the file `path`. */
function archive(name: string, program: string): string {
  const path = join(scratch, name);
  execFileSync("python3", [
    "-c",
    `import io, os, sys, tarfile, zipfile, gzip, json\npath = sys.argv[1]\n${program}`,
    path,
  ]);
  return path;
}

const inTar = (lines: string) => `with tarfile.open(path, "w:gz") as t:
  def add(name, type=tarfile.REGTYPE, content=b"x", link=""):
    info = tarfile.TarInfo(name); info.type = type; info.linkname = link
    info.size = len(content) if type == tarfile.REGTYPE else 0
    t.addfile(info, io.BytesIO(content))
${lines.replaceAll(/^/gm, "  ")}`;
const inZip = (lines: string) =>
  `with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:\n${lines.replaceAll(/^/gm, "  ")}`;

const hostile: Readonly<Record<string, { program: string; says: RegExp }>> = {
  "dots.tar.gz": { program: inTar('add("a"); add("../evil")'), says: /has the path "..\/evil"/ },
  "inner-dots.tar.gz": { program: inTar('add("a/../../evil")'), says: /has the path/ },
  "absolute.tar.gz": { program: inTar('add("/tmp/evil")'), says: /has the path "\/tmp\/evil"/ },
  "backslash.tar.gz": { program: inTar('add("a\\\\..\\\\evil")'), says: /has the path/ },
  "drive.tar.gz": { program: inTar('add("C:evil")'), says: /has the path/ },
  "symlink.tar.gz": { program: inTar('add("a", tarfile.SYMTYPE, link="/etc/passwd")'), says: /a symbolic link, "a"/ },
  "symlinked-folder.tar.gz": {
    program: inTar('add("a", tarfile.SYMTYPE, link="/tmp"); add("a/evil")'),
    says: /a symbolic link, "a"/,
  },
  "hardlink.tar.gz": { program: inTar('add("a"); add("b", tarfile.LNKTYPE, link="a")'), says: /a hard link, "b"/ },
  "device.tar.gz": { program: inTar('add("a", tarfile.CHRTYPE)'), says: /a device, "a"/ },
  "disk.tar.gz": { program: inTar('add("a", tarfile.BLKTYPE)'), says: /a device, "a"/ },
  "pipe.tar.gz": { program: inTar('add("a", tarfile.FIFOTYPE)'), says: /a named pipe, "a"/ },
  "twice.tar.gz": { program: inTar('add("a"); add("a")'), says: /has "a" twice/ },
  "many.tar.gz": {
    program: inTar('for n in range(10001): add("d", tarfile.DIRTYPE)'),
    says: /more than 10000 entries/,
  },
  "bomb.tar.gz": {
    program: `info = tarfile.TarInfo("zeros"); info.size = 300 * 1024 * 1024
with open(path, "wb") as f: f.write(gzip.compress(info.tobuf()) + gzip.compress(bytes(10 * 1024 * 1024), 1) * 30)`,
    says: /more than 256 MiB/,
  },
  "cut.tar.gz": {
    program: `${inTar('add("a", content=os.urandom(100000))')}\nos.truncate(path, 50000)`,
    says: /cannot be read/,
  },
  "corrupt.tar": {
    program: `${inTar('add("a", content=os.urandom(300000)); add("b", content=os.urandom(300000))').replace("w:gz", "w")}
with open(path, "r+b") as f: f.seek(512 + 300032); f.write(os.urandom(512))`,
    says: /cannot be read/,
  },
  "text.tar.gz": { program: 'open(path, "w").write("no archive at all\\n" * 100)', says: /cannot be read|no files/ },
  "empty.tar.gz": { program: 'open(path, "w")', says: /no files|cannot be read/ },
  "dots.zip": { program: inZip('z.writestr("../evil", "x")'), says: /cannot be read|has the path/ },
  "absolute.zip": { program: inZip('z.writestr("/tmp/evil", "x")'), says: /cannot be read|has the path/ },
  "symlink.zip": {
    program: inZip(
      'i = zipfile.ZipInfo("a"); i.create_system = 3; i.external_attr = 0o120777 << 16; z.writestr(i, "/etc/passwd")',
    ),
    says: /a symbolic link, "a"/,
  },
  "device.zip": {
    program: inZip(
      'i = zipfile.ZipInfo("a"); i.create_system = 3; i.external_attr = 0o020666 << 16; z.writestr(i, "")',
    ),
    says: /a special file, "a"/,
  },
  "twice.zip": { program: inZip('z.writestr("a", "x"); z.writestr("a", "y")'), says: /has "a" twice/ },
  "many.zip": { program: inZip('for n in range(10001): z.writestr(f"{n}", "")'), says: /more than 10000 entries/ },
  "bomb.zip": {
    program: inZip('z.writestr("zeros", bytes(257 * 1024 * 1024), compresslevel=1)'),
    says: /more than 256 MiB/,
  },
  "cut.zip": {
    program: `${inZip('z.writestr("a", os.urandom(100000))')}\nos.truncate(path, 50000)`,
    says: /cannot be read/,
  },
};

describe("an archive is refused, and nothing is written beside its directory:", () => {
  test.each(Object.entries(hostile))("%s", async (name, { program, says }) => {
    const target = join(scratch, `out-${name}`, "inner");
    mkdirSync(target, { recursive: true });
    const error = await unpack(archive(name, program), target, new AbortController().signal).then(
      () => null,
      (cause: unknown) => cause,
    );
    expect(error).toBeInstanceOf(SourceError);
    expect((error as Error).message).toMatch(says);
    expect(readdirSync(dirname(target))).toEqual(["inner"]);
    expect(existsSync("/tmp/evil")).toBe(false);
  });
});

test.each(["good.tar.gz", "good.tar", "good.zip"])("%s is unpacked with what is executable", async (name) => {
  const target = join(scratch, `out-${name}`);
  mkdirSync(target);
  const program = name.endsWith("zip")
    ? inZip(
        'i = zipfile.ZipInfo("top/run.sh"); i.create_system = 3; i.external_attr = 0o100755 << 16; z.writestr(i, "run"); z.writestr("top/deep/ünï.txt", "text")',
      )
    : inTar(
        'i = tarfile.TarInfo("./top/run.sh"); i.mode = 0o755; i.size = 3; t.addfile(i, io.BytesIO(b"run")); add("top/deep/ünï.txt", content=b"text"); add("top", tarfile.DIRTYPE)',
      ).replace('"w:gz"', name.endsWith("gz") ? '"w:gz"' : '"w"');
  await unpack(archive(name, program), target, new AbortController().signal);
  expect(readFileSync(join(target, "top/deep/ünï.txt"), "utf8")).toBe("text");
  expect(statSync(join(target, "top/run.sh")).mode & 0o111).toBe(0o111);
  expect(statSync(join(target, "top/deep/ünï.txt")).mode & 0o111).toBe(0);
});

test("a pack comes by https from a public host, or from what the setting lists", () => {
  const both = ["https:", "http:"];
  expect(checkUrl("https://example.org/x", [], both).host).toBe("example.org");
  expect(checkUrl("https://example.org/x", ["example.org"], both).host).toBe("example.org");
  expect(checkUrl("http://127.0.0.1:8000/x", ["http://127.0.0.1:8000"], both).port).toBe("8000");
  for (const [url, allowed] of [
    ["http://example.org/x", []],
    ["http://example.org/x", ["example.org"]],
    ["https://example.org/x", ["example.com"]],
    ["http://127.0.0.1:8001/x", ["http://127.0.0.1:8000"]],
    ["https://user:secret@example.org/x", []],
    ["file:///etc/passwd", []],
    ["ext::sh -c true", []],
    ["ssh://git@example.org/x.git", ["example.org", "ssh://example.org"]],
    ["git@example.org:x.git", ["example.org"]],
    ["nothing", []],
  ] as const) {
    expect(() => checkUrl(url, allowed, both), url).toThrow(SourceError);
  }
});

/** Returns the address of a pack's archive. */
function serve(name: string, files: Record<string, string>): string {
  const source = directories(files);
  const path = join(scratch, `${name}.tar.gz`);
  execFileSync("tar", ["-czf", path, "-C", source, "."]);
  served.set(`/${name}.tar.gz`, readFileSync(path));
  return `${origin}/${name}.tar.gz`;
}

const packFiles = (ref: string, version: string, more: Record<string, string> = {}) => ({
  "pack.yaml": `ref: ${ref}\nlabel: ${ref}\nversion: ${version}\n`,
  "actions/say.yaml": `ref: ${ref}.say\nlabel: Say\nrunner_type: shell\nentry_point: actions/say.sh\n`,
  "actions/say.sh": `echo ${version}\n`,
  ...more,
});

const request = (more: Partial<InstallPackInput>, session = world.session) =>
  commit(world.services, installPack, session, {
    ...{
      artifact: null,
      archive: null,
      git: null,
      name: null,
      skipTests: false,
      force: false,
      withDependencies: false,
    },
    ...more,
  });

/** Installs from an archive on the server, and returns how that ended. */
const install = async (url: string, more: Partial<InstallPackInput> & { sha256?: string } = {}) => {
  const { sha256 = null, ...rest } = more;
  const { id } = await request({ archive: { url, sha256 }, ...rest });
  return await world.ended(String(id), longMs);
};

const versionOf = async (ref: string) =>
  (
    await world.all<{ version: string; source: string }>(
      sql`select version, source_type as source from attune.pack where ref = ${ref}`,
    )
  )[0] ?? null;
const says = async (ref: string) => {
  const id = await world.execute(`${ref}.say`);
  await world.ended(id);
  return await world.log(id, "stdout");
};

test("a pack is installed, run, updated, and stays when an update fails; its releases are kept by their digests", async () => {
  const first = await install(serve("grow-1", packFiles("grow", "1.0.0")));
  expect(first.error).toBeNull();
  expect(first.result).toMatchObject({
    data: { pack: "grow", version: "1.0.0", previous_version: null, changed: true, tests: null },
  });
  expect(await says("grow")).toBe("1.0.0\n");
  const again = await install(`${origin}/grow-1.tar.gz`);
  expect(again.result).toMatchObject({ data: { changed: false } });
  expect((await install(serve("grow-2", packFiles("grow", "2.0.0")))).result).toMatchObject({
    data: { version: "2.0.0", previous_version: "1.0.0", changed: true },
  });
  expect(await says("grow")).toBe("2.0.0\n");
  const broken = packFiles("grow", "3.0.0", { "actions/say.yaml": "ref: grow.say\nlabel: Say\nrunner_type: shel\n" });
  const refused = await install(serve("grow-3", broken));
  expect(refused).toMatchObject({ status: "failed", error: { code: "PACK_INVALID" } });
  expect(refused.error?.message).toContain("actions/say.yaml:3:14 runner_type: expected one of");
  expect(await versionOf("grow")).toEqual({ version: "2.0.0", source: "archive" });
  expect(await says("grow")).toBe("2.0.0\n");
  expect(readdirSync(join(installDir, "grow"))).toHaveLength(2);
  expect(readdirSync(installDir).filter((name) => name.startsWith("attune-scratch-"))).toEqual([]);
});

test("an execution that began before an update ends on its release", async () => {
  const slow = (version: string) =>
    packFiles("slow", version, {
      "actions/say.sh": `touch ${scratch}/began\nwhile [ ! -e ${scratch}/go ]; do sleep 0.05; done\ncat actions/word\n`,
      "actions/word": version,
    });
  await install(serve("slow-1", slow("1.0.0")));
  const id = await world.execute("slow.say");
  await until(() => existsSync(join(scratch, "began")), "the action to begin");
  expect((await install(serve("slow-2", slow("2.0.0")))).error).toBeNull();
  expect((await versionOf("slow"))?.version).toBe("2.0.0");
  writeFileSync(join(scratch, "go"), "");
  await world.ended(id);
  expect(await world.log(id, "stdout")).toBe("1.0.0");
  expect(await says("slow")).toBe("2.0.0");
});

test("the files of a release are removed when it is not active, nothing runs it, and some time has passed", async () => {
  const waiting = packFiles("left", "1.0.0", {
    "actions/say.sh": `touch ${scratch}/left-began\nwhile [ ! -e ${scratch}/left-go ]; do sleep 0.05; done\n`,
  });
  await install(serve("left-1", waiting));
  const id = await world.execute("left.say");
  await until(() => existsSync(join(scratch, "left-began")), "the action to begin");
  await install(serve("left-2", packFiles("left", "2.0.0")));
  const releases = () => readdirSync(join(installDir, "left")).length;
  expect(releases()).toBe(2);
  await removeReleases(world.services, installDir, 0);
  expect(releases(), "an execution runs the old one").toBe(2);
  writeFileSync(join(scratch, "left-go"), "");
  await world.ended(id);
  await removeReleases(world.services, installDir, 3600_000);
  expect(releases(), "it is too new").toBe(2);
  await removeReleases(world.services, installDir, 0);
  expect(releases()).toBe(1);
  expect(await says("left")).toBe("2.0.0\n");
  expect((await install(`${origin}/left-1.tar.gz`)).error).toBeNull();
  await commit(world.services, deletePack, world.session, { ref: "left" });
  await removeReleases(world.services, installDir, 0);
  expect(releases()).toBe(0);
});

test("another checksum than the expected one, a missing file and a redirect to a host that is not allowed are refused", async () => {
  const url = serve("checked", packFiles("checked", "1.0.0"));
  const sum = createHash("sha256")
    .update(served.get("/checked.tar.gz") as Buffer)
    .digest("hex");
  const wrong = await install(url, { sha256: "0".repeat(64) });
  expect(wrong.error).toEqual({
    code: "SOURCE_REFUSED",
    message: `The archive's SHA-256 is ${sum}, not ${"0".repeat(64)} as expected.`,
  });
  expect((await install(`${origin}/nowhere.tar.gz`)).error?.message).toContain("responded with status 404");
  served.set("/away.tar.gz", "http://127.0.0.1:9/x.tar.gz");
  expect((await install(`${origin}/away.tar.gz`)).error?.message).toContain("http://127.0.0.1:9 is refused");
  expect((await install("http://localhost:1/x.tar.gz")).error?.message).toContain("ATTUNE__PACKS__SOURCES");
  expect(await versionOf("checked")).toBeNull();
  expect((await install(url, { sha256: sum })).error).toBeNull();
});

test("no more is read of a content than its limit", async () => {
  served.set("/long", Buffer.alloc(2 * 1024 * 1024));
  const options = { allowed: [origin], signal: new AbortController().signal, mostBytes: 1024 * 1024 };
  const read = async (path: string) => {
    let size = 0;
    for await (const chunk of await open(`${origin}${path}`, options)) size += (chunk as Buffer).length;
    return size;
  };
  await expect(read("/long")).rejects.toThrow(new SourceError("It is larger than 1 MiB."));
  served.set("/short", Buffer.alloc(1024 * 1024));
  expect(await read("/short")).toBe(1024 * 1024);
});

/** The reports of an installation as `step status`, without those of what is being done. */
const stepsOf = async (id: string) =>
  (await readSteps(world.services.db, BigInt(id), { after: 0n, limit: 100 }))
    .filter(({ status }) => status !== "running")
    .map(({ step, status, message }) => `${step} ${status}${message === null ? "" : `: ${message}`}`);

test("an installation ends with its time-out, at whatever step", async () => {
  served.set("/never.tar.gz", null);
  const limit = (seconds: number | null) =>
    world.services.db.execute(
      sql`update attune.action set timeout_seconds = ${seconds}::int where ref = 'core.install_pack'`,
    );
  await limit(2);
  try {
    const waiting = await install(`${origin}/never.tar.gz`);
    expect(waiting).toMatchObject({
      status: "timeout",
      error: { code: "TIMEOUT" },
      reason: "The action ran longer than 2 s.",
    });
    expect(await stepsOf(waiting.id)).toEqual(["fetch failed: The action ran longer than 2 s."]);
    const slow = packFiles("slowtests", "1.0.0", {
      "pack.yaml": `ref: slowtests\nlabel: S\nversion: 1.0.0\ntesting: {on_failure: warn, runners: {shell: {type: script, entry_point: tests/run.sh}}}\n`,
      "tests/run.sh": "sleep 300\n",
    });
    const testing = await install(serve("slowtests", slow));
    expect(testing).toMatchObject({ status: "timeout", reason: "The action ran longer than 2 s." });
    expect((await stepsOf(testing.id)).at(-1)).toBe("tests failed: The action ran longer than 2 s.");
    expect(await versionOf("slowtests")).toBeNull();
  } finally {
    await limit(7200);
  }
});

test("an installation that is cancelled leaves nothing, and ends what it runs", async () => {
  const [began, pid] = [join(scratch, "cancelled-began"), join(scratch, "cancelled-pid")];
  const waiting = packFiles("cancelled", "1.0.0", {
    "pack.yaml": `ref: cancelled\nlabel: C\nversion: 1.0.0\ntesting: {on_failure: warn, runners: {shell: {type: script, entry_point: tests/run.sh}}}\n`,
    "tests/run.sh": `echo $$ >${pid}; touch ${began}; sleep 300\n`,
  });
  const { id } = await request({ archive: { url: serve("cancelled", waiting), sha256: null } });
  await until(() => existsSync(began), "the tests to run", longMs);
  await commit(world.services, cancelExecution, world.session, { id, reason: null });
  expect(await world.ended(String(id), longMs)).toMatchObject({ status: "cancelled" });
  expect((await stepsOf(String(id))).at(-1)).toMatch(/^tests failed: /);
  expect(await versionOf("cancelled")).toBeNull();
  expect(existsSync(join(installDir, "cancelled"))).toBe(false);
  expect(() => process.kill(Number(readFileSync(pid, "utf8")), 0)).toThrow("ESRCH");
});

test("every step is reported, with what it found or why it failed", async () => {
  const url = serve("stepped", packFiles("stepped", "1.0.0"));
  const sum = createHash("sha256")
    .update(served.get("/stepped.tar.gz") as Buffer)
    .digest("hex");
  const first = await install(url, { sha256: sum });
  expect(await stepsOf(first.id)).toEqual([
    `fetch done: ${url}`,
    `checksum done: its SHA-256 is ${sum}`,
    "check done: stepped 1.0.0",
    "dependencies done",
    "environments skipped: it needs none",
    "tests skipped: it has none",
    "activate done: stepped 1.0.0 is installed",
  ]);
  const again = await install(url);
  expect(await stepsOf(again.id)).toEqual([
    `fetch done: ${url}`,
    `checksum skipped: no SHA-256 was given; it is ${sum}`,
    "check done: stepped 1.0.0",
    ...["dependencies", "environments", "tests", "activate"].map(
      (step) => `${step} skipped: stepped 1.0.0 is installed already`,
    ),
  ]);
  const wrong = await install(url, { sha256: "0".repeat(64) });
  expect((await stepsOf(wrong.id)).at(-1)).toMatch(
    /^checksum failed: The archive's SHA-256 is \w{64}, not 0{64} as expected\.$/,
  );
  const unclosed = packFiles("stepped", "2.0.0", { "pack.yaml": "ref: stepped\nlabel: [open\nversion: 2.0.0\n" });
  const unreadable = await install(serve("stepped-open", unclosed));
  expect(unreadable.error).toMatchObject({
    code: "PACK_INVALID",
    message: expect.stringMatching(/^The pack is not valid:\npack\.yaml:\d:\d+: /),
  });
  const broken = packFiles("stepped", "2.0.0", {
    "actions/say.yaml": "ref: stepped.say\nlabel: 3\nrunner_type: shel\n",
  });
  const faulty = await install(serve("stepped-2", broken));
  expect((await stepsOf(faulty.id)).at(-1)).toMatch(
    /^check failed: The pack is not valid: actions\/say\.yaml:2:8 .* actions\/say\.yaml:3:14 /,
  );
});

test("hostile archives end as failed installations", async () => {
  for (const name of ["symlink.tar.gz", "dots.tar.gz"]) {
    served.set(`/${name}`, readFileSync(join(scratch, name)));
    expect((await install(`${origin}/${name}`)).error?.code, name).toBe("SOURCE_REFUSED");
  }
});

describe("a pack whose tests fail", () => {
  const failing = (ref: string, onFailure: string) =>
    packFiles(ref, "1.0.0", {
      "pack.yaml": `ref: ${ref}\nlabel: ${ref}\nversion: 1.0.0\ntesting:\n  on_failure: ${onFailure}\n  runners: {shell: {type: script, entry_point: tests/run.sh}}\n`,
      "tests/run.sh": "echo 'Total Tests: 2'; echo 'Passed: 1'; echo 'Failed: 1'\n",
    });

  test("is not installed, unless that is forced or the tests are skipped", async () => {
    const url = serve("fails", failing("fails", "block"));
    const { error } = await install(url);
    expect(error).toMatchObject({ code: "TESTS_FAILED", message: expect.stringContaining("1 of 2 tests failed") });
    expect(await versionOf("fails")).toBeNull();
    expect((await install(url, { force: true })).result).toMatchObject({
      data: { changed: true, tests: { passed: 1, failed: 1, succeeded: false } },
    });
    const [run] =
      await world.all(sql`select t.trigger_reason as reason, t.failed from attune.pack_test_execution t join attune.pack p
      on p.id = t.pack_id where p.ref = 'fails'`);
    expect(run).toEqual({ reason: "install", failed: 1 });
    const skipped = await install(serve("skips", failing("skips", "block")), { skipTests: true });
    expect(skipped.result).toMatchObject({ data: { changed: true, tests: null } });
  });

  test.each(["warn", "ignore"])("is installed where it says: %s", async (how) => {
    const { result } = await install(serve(how, failing(`on_${how}`, how)));
    expect(result).toMatchObject({ data: { changed: true, tests: how === "warn" ? { succeeded: false } : null } });
  });
});

test("what cannot be loaded changes nothing: a missing dependency, a pack of a setting, a pack made by hand, a bad environment", async () => {
  const lonely = packFiles("lonely", "1.0.0", {
    "pack.yaml": "ref: lonely\nlabel: L\nversion: 1.0.0\ndependencies: [nosuchpack]\n",
  });
  expect((await install(serve("lonely", lonely))).error?.message).toContain('there is no pack "nosuchpack"');
  expect(await versionOf("lonely")).toBeNull();
  await install(serve("base", packFiles("base", "1.0.0")));
  expect((await install(serve("middle", needing("middle", "1.0.0", "base")))).error).toBeNull();
  expect((await install(serve("upper", needing("upper", "1.0.0", "middle")))).error).toBeNull();
  expect((await install(serve("base-2", needing("base", "2.0.0", "upper")))).error?.message).toContain(
    "pack.yaml:4:16 dependencies.0: the packs would depend on each other: base needs upper needs middle needs base",
  );
  expect((await versionOf("base"))?.version).toBe("1.0.0");
  await loadDirectory(world.services, directories(packFiles("fixed", "1.0.0")));
  expect((await install(serve("fixed", packFiles("fixed", "2.0.0")))).error?.message).toContain("ATTUNE__PACKS__DIRS");
  expect((await install(serve("core", packFiles("core", "9.0.0")))).error?.code).toBe("CONFLICT");
  await commit(world.services, createPack, world.session, { ref: "byhand" });
  expect((await install(serve("byhand", packFiles("byhand", "2.0.0")))).error?.message).toContain("created by hand");
  const needy = packFiles("needy", "1.0.0", { "requirements.txt": "--no-index\nmissing-library\n" });
  expect((await install(serve("needy", needy))).error).toMatchObject({
    ...{ code: "ENVIRONMENT_FAILED", message: expect.stringContaining("missing-library") },
  });
  expect(await versionOf("needy")).toBeNull();
  // What builds write is in the log of the execution.
  const failed = await install(`${origin}/needy.tar.gz`);
  expect(await world.log(failed.id, "stdout")).toMatch(/^core\.action\.python \| .*missing-library/m);
});

const needing = (ref: string, version: string, needed: string) =>
  packFiles(ref, version, { "pack.yaml": `ref: ${ref}\nlabel: L\nversion: ${version}\ndependencies: [${needed}]\n` });

test("a pack is installed with what it needs in a version of its range, which updates keep unless they are forced", async () => {
  const from = async (ref: string, version: string, needed = "", more: Partial<InstallPackInput> = {}) =>
    await install(serve(`${ref}-${version}`, needing(ref, version, needed)), more);
  const entry = (version: string) => {
    const url = serve(`wheel-${version}`, needing("wheel", version, ""));
    return { ref: "wheel", label: "w", version, install_sources: [{ type: "git", url, ref: "v1" }] };
  };
  served.set("/first.json", Buffer.from(JSON.stringify({ packs: ["1.1.0", "1.10.0", "1.9.0", "2.0.0"].map(entry) })));
  served.set("/second.json", Buffer.from('{"packs": []}'));
  expect((await from("car", "1.0.0", "'wheel@^1.2', 'engine@3'")).error).toEqual({
    code: "PACK_INVALID",
    message: `The pack is not valid:
pack.yaml:4:16 dependencies.0: there is no pack "wheel": first run "attune pack install wheel@1.10.0", or install with --with-dependencies
pack.yaml:4:30 dependencies.1: there is no pack "engine": install 'engine@3' first. The indexes have no pack "engine" in a version 3`,
  });
  expect(await versionOf("car")).toBeNull();
  await from("wheel", "1.1.0");
  expect((await from("car", "1.0.0", "'wheel@^1.2'")).error?.message).toContain(
    'dependencies.0: expected "wheel" in a version ^1.2, and it has the version 1.1.0: first run "attune pack install wheel@1.10.0"',
  );
  await from("wheel", "1.10.0");
  expect((await from("car", "1.0.0", "'wheel@^1.2'")).error).toBeNull();
  const refused = await from("wheel", "2.0.0");
  expect(refused.error).toEqual({
    code: "PACK_INVALID",
    message: `The pack is not valid:
pack.yaml:3:10 version: the pack "car" 1.0.0 needs wheel@^1.2: update it first, or keep "wheel" 1.10.0, or install with --force`,
  });
  expect((await versionOf("wheel"))?.version).toBe("1.10.0");
  const forced = await from("wheel", "2.0.0", "", { force: true });
  expect(forced.result).toMatchObject({
    data: { changed: true, forced: [expect.stringMatching(/^the pack "car" 1\.0\.0 needs wheel@\^1\.2: /)] },
  });
  expect(await world.log(forced.id, "system")).toContain('Forced: the pack "car" 1.0.0 needs wheel@^1.2');
  // What is broken already stays so without being forced again.
  expect((await from("wheel", "2.0.1")).error).toBeNull();
  expect((await from("car", "1.1.0", "'wheel@^1.2'", { force: true })).error?.message).toContain("version 2.0.1");
});

describe("with dependencies", () => {
  /** Lists these packs in the first index, each from an archive that the server has. */
  const publish = (
    ...packs: { ref: string; version: string; needs?: string; more?: Record<string, string>; as?: string }[]
  ) => {
    const entries = packs.map(({ ref, version, needs = "", more = {}, as = version }) => {
      const files = { ...needing(ref, as, needs), ...more };
      const url = serve(`${ref}-${version}`, files);
      const checksum = createHash("sha256")
        .update(served.get(new URL(url).pathname) as Buffer)
        .digest("hex");
      return { ref, label: ref, version, install_sources: [{ type: "archive", url, checksum }] };
    });
    served.set("/first.json", Buffer.from(JSON.stringify({ packs: entries })));
    served.set("/second.json", Buffer.from('{"packs": []}'));
  };
  const ended = async (name: string, more: Partial<InstallPackInput> = {}) =>
    await world.ended(String((await request({ name, withDependencies: true, ...more })).id), longMs);
  const tested = (ref: string, version: string, output: string, needs = "") => ({
    "pack.yaml": `ref: ${ref}\nlabel: L\nversion: ${version}\ndependencies: [${needs}]\ntesting: {runners: {shell: {type: script, entry_point: tests/run.sh, result_format: tap}}}\n`,
    "tests/run.sh": `echo 1..1; echo '${output}'\n`,
  });

  test("a pack brings what it needs in their order, each tested, and all of it becomes active at once", async () => {
    publish(
      { ref: "tree", version: "1.0.0", needs: "'trunk@^1', leaf" },
      { ref: "trunk", version: "1.0.0" },
      { ref: "trunk", version: "1.5.0", more: tested("trunk", "1.5.0", "ok 1 - grows", "root") },
      { ref: "trunk", version: "2.0.0" },
      { ref: "leaf", version: "0.3.0", needs: "'trunk@^1.2', root" },
      { ref: "root", version: "3.0.0" },
    );
    asked.length = 0;
    const found = await ended("tree");
    expect(found.error).toBeNull();
    expect(found.result).toMatchObject({
      data: {
        ...{ pack: "tree", version: "1.0.0", changed: true },
        dependencies: [
          { pack: "root", version: "3.0.0", previous_version: null, tests: null },
          { pack: "trunk", version: "1.5.0", tests: { passed: 1, failed: 0 } },
          { pack: "leaf", version: "0.3.0" },
        ],
      },
    });
    // Once, whether or not they have changed.
    expect(
      asked
        .filter((path) => path.includes(".json"))
        .map((path) => path.split(" ")[0])
        .sort(),
    ).toEqual([...["/first.json", "/second.json"]]);
    expect(await stepsOf(found.id)).toContain(
      "dependencies done: it is installed with root 3.0.0, trunk 1.5.0, leaf 0.3.0",
    );
    for (const ref of ["root", "trunk", "leaf", "tree"]) expect(await versionOf(ref)).not.toBeNull();
    const runs = sql`select p.ref, t.pack_version as version from attune.pack_test_execution t join attune.pack p on p.id = t.pack_id
      where p.ref in ('root', 'trunk', 'leaf', 'tree')`;
    expect(await world.all(runs)).toEqual([{ ref: "trunk", version: "1.5.0" }]);
    // Nothing is missing: nothing else is looked for, and indexes that have not changed are not sent again.
    asked.length = 0;
    publish({ ref: "bush", version: "1.0.0", needs: "root" });
    expect((await ended("bush")).result).toMatchObject({ data: { dependencies: [] } });
    expect((await ended("bush")).result).toMatchObject({ data: { changed: false } });
    expect(asked.filter((path) => path.includes(".json")).sort()).toEqual([
      ...["/first.json", "/first.json 304", "/second.json 304", "/second.json 304"],
    ]);
  });

  test("a pack updates what it needs in a later version, unless another pack needs the earlier one", async () => {
    publish({ ref: "seed", version: "1.0.0" });
    expect((await ended("seed")).error).toBeNull();
    publish({ ref: "apple", version: "1.0.0", needs: "'seed@^2'" }, { ref: "seed", version: "2.0.0" });
    expect((await ended("apple")).result).toMatchObject({
      data: { dependencies: [{ pack: "seed", version: "2.0.0", previous_version: "1.0.0" }] },
    });
    publish({ ref: "pear", version: "1.0.0", needs: "'seed@^3'" }, { ref: "seed", version: "3.0.0" });
    expect((await ended("pear")).error).toEqual({
      code: "PACK_INVALID",
      message: `The pack is not valid:
seed: pack.yaml:3:10 version: the pack "apple" 1.0.0 needs seed@^2: update it first, or keep "seed" 2.0.0, or install with --force`,
    });
    const forced = await ended("pear", { force: true });
    expect(forced.result).toMatchObject({ data: { forced: [expect.stringContaining('"apple" 1.0.0 needs seed@^2')] } });
    expect(await versionOf("seed")).toMatchObject({ version: "3.0.0" });
  });

  test("nothing is installed when one of them is missing, in a circle, of two minds, broken, or made by hand", async () => {
    const refused = async (name: string) => (await ended(name)).error?.message;
    publish({ ref: "alone", version: "1.0.0", needs: "'ghost@^1'" }, { ref: "ghost", version: "2.0.0" });
    expect(await refused("alone")).toBe('ghost: The indexes have no pack "ghost" in a version ^1; they have 2.0.0.');
    publish(
      { ref: "chicken", version: "1.0.0", needs: "farm, egg" },
      { ref: "egg", version: "1.0.0", needs: "chicken" },
      { ref: "farm", version: "1.0.0" },
    );
    expect(await refused("chicken")).toContain(
      "egg: pack.yaml:4:16 dependencies.0: the packs would depend on each other: egg needs chicken needs egg",
    );
    publish(
      { ref: "town", version: "1.0.0", needs: "'road@^1', house" },
      { ref: "house", version: "1.0.0", needs: "'road@^2'" },
      { ref: "road", version: "1.0.0" },
      { ref: "road", version: "2.0.0" },
    );
    expect(await refused("town")).toContain(
      'house: pack.yaml:4:16 dependencies.0: expected "road" in a version ^2, and it has the version 1.0.0',
    );
    publish(
      { ref: "ship", version: "1.0.0", needs: "sail" },
      { ref: "sail", version: "1.0.0", more: tested("sail", "1.0.0", "not ok 1 - holds") },
    );
    expect(await refused("ship")).toMatch(/^sail: The tests of sail 1\.0\.0 failed: /);
    publish({ ref: "boat", version: "1.0.0", needs: "oar" }, { ref: "oar", version: "1.0.0", as: "1.0.1" });
    expect(await refused("boat")).toBe(
      "oar: The index says that this is oar 1.0.0, and its files are those of oar 1.0.1.",
    );
    await commit(world.services, createPack, world.session, { ref: "hull", version: "0.1.0" });
    publish({ ref: "raft", version: "1.0.0", needs: "'hull@1'" }, { ref: "hull", version: "1.0.0" });
    expect(await refused("raft")).toContain('hull: The pack "hull" was created by hand');
    const refs = [
      "alone",
      "ghost",
      "chicken",
      "egg",
      "farm",
      "town",
      "house",
      "road",
      "ship",
      "sail",
      "boat",
      "oar",
      "raft",
    ];
    expect(await world.all(sql`select ref from attune.pack where ref = any(${`{${refs}}`}::text[])`)).toEqual([]);
    expect(readdirSync(installDir).filter((name) => name.startsWith("attune-scratch-"))).toEqual([]);
  });
});

test("what a lost worker has left of a build is found by the execution that it was for", async () => {
  const python = join(scratch, "python");
  writeFileSync(python, '#!/bin/sh\necho "for $ATTUNE_EXEC_ID"; exit 7\n', { mode: 0o755 });
  const source = await readPack(directories(packFiles("owned", "1.0.0", { "requirements.txt": "nothing\n" })));
  const written: string[] = [];
  const environments = localEnvironments(source, {
    ...{ interpreters: new Map([["core.action.python", python]]), base: {}, buildBase: {}, runAs: null, scratch },
    variables: { ATTUNE_EXEC_ID: "the execution" },
    signal: new AbortController().signal,
    onOutput: (stream, text) => written.push(`${stream} ${text}`),
  });
  await expect(environments.build()).rejects.toThrow(/exited with code 7/);
  expect(written.at(-1)).toBe("stdout core.action.python | for the execution\n");
});

test("two installations of one pack at once end with one of the two, and both releases are whole", async () => {
  const urls = [1, 2].map((n) => serve(`race-${n}`, packFiles("race", `${n}.0.0`)));
  const ended = await Promise.all(urls.map((url) => install(url)));
  expect(ended.map(({ status }) => status)).toEqual(["completed", "completed"]);
  const { version } = (await versionOf("race")) ?? {};
  expect(await says("race")).toBe(`${version}\n`);
});

test("a pack is installed from a commit of a repository, which is recorded", async () => {
  const repository = directories(packFiles("cloned", "1.0.0"));
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", ...args], {
      cwd: repository,
      encoding: "utf8",
    }).trim();
  git("init", "--quiet", "--initial-branch", "main");
  git("add", ".");
  git("commit", "--quiet", "-m", "first");
  git("tag", "v1");
  writeFileSync(join(repository, "actions/say.sh"), "echo next\n");
  git("commit", "--quiet", "-am", "second");
  const ended = async (ref: string | null, url = `file://${repository}`) =>
    await world.ended(String((await request({ git: { url, ref } })).id), longMs);
  expect((await ended("v1")).error).toBeNull();
  expect(await says("cloned")).toBe("1.0.0\n");
  expect((await ended(null)).error).toBeNull();
  expect(await says("cloned")).toBe("next\n");
  const [stored] = await world.all(
    sql`select source_type as type, source_ref as ref from attune.pack where ref = 'cloned'`,
  );
  expect(stored).toEqual({ type: "git", ref: git("rev-parse", "HEAD") });
  expect((await ended("nosuchtag")).error?.message).toBe(
    "git fetch failed: it exited with code 128: couldn't find remote ref nosuchtag",
  );
  expect((await ended(null, "http://127.0.0.1:9/x.git")).error?.message).toContain("is refused");
  await expect(request({ git: { url: `file://${repository}`, ref: "--upload-pack=touch x" } })).rejects.toThrow(
    /expected a branch/,
  );
});

test("a pack is installed by its name from the first index that has a version in the range", async () => {
  const entry = (ref: string, version: string, more: object = {}) => {
    const url = serve(`${ref}-${version}`, packFiles(ref, version));
    const sum = createHash("sha256")
      .update(served.get(new URL(url).pathname) as Buffer)
      .digest("hex");
    return { ref, label: ref, version, install_sources: [{ type: "archive", url, checksum: sum, ...more }] };
  };
  const publish = (name: string, packs: unknown) => served.set(`/${name}.json`, Buffer.from(JSON.stringify(packs)));
  publish("first", { packs: ["1.0.0", "1.9.0", "1.10.0", "2.0.0-beta.1"].map((version) => entry("indexed", version)) });
  publish("second", { packs: [entry("indexed", "3.0.0"), entry("other", "1.0.0", { checksum: "0".repeat(64) })] });
  const ended = async (name: string) => await world.ended(String((await request({ name })).id), longMs);
  expect((await ended("indexed@^1.2")).result).toMatchObject({ data: { version: "1.10.0" } });
  expect((await ended("indexed")).result).toMatchObject({ data: { version: "1.10.0", changed: false } });
  expect((await ended("indexed@1.9.0")).result).toMatchObject({
    data: { version: "1.9.0", previous_version: "1.10.0" },
  });
  expect((await ended("indexed@2.0.0-beta.1")).result).toMatchObject({ data: { version: "2.0.0-beta.1" } });
  expect((await ended("indexed@>=3")).result).toMatchObject({ data: { version: "3.0.0" } });
  expect((await ended("indexed@9")).error).toEqual({
    code: "SOURCE_REFUSED",
    message: 'The indexes have no pack "indexed" in a version 9; they have 2.0.0-beta.1, 1.10.0, 1.9.0, 1.0.0, 3.0.0.',
  });
  expect((await ended("other")).error?.message).toContain("as expected");
  publish("second", { packs: [{ ref: "indexed" }] });
  expect((await ended("nowhere")).error?.message).toMatch(/index .*second\.json cannot be read: packs\.0\.label/);
  served.delete("/first.json");
  expect((await ended("indexed@>=3")).error?.message).toContain("first.json cannot be read");
  await expect(request({ name: "no such name" })).rejects.toThrow(/expected a name such as/);
});

test("only those may install who may install any pack, from one source", async () => {
  const archive = { url: `${origin}/grow-1.tar.gz`, sha256: null };
  const some = await createPerson(world.services, "installer", {
    grants: [{ resource: "pack", actions: ["install"], constraints: { pack_refs: ["grow"] } }],
  });
  await expect(request({ archive }, some)).rejects.toThrow(/without constraints/);
  const any = await createPerson(world.services, "installer2", {
    grants: [{ resource: "pack", actions: ["install"] }],
  });
  expect((await world.ended(String((await request({ archive }, any)).id), longMs)).error).toBeNull();
  await expect(request({})).rejects.toThrow(/one of artifact, archive, git and name/);
  await expect(request({ archive, git: { url: "https://example.org/x", ref: null } })).rejects.toThrow(/one of/);
});
