import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { createDeflate, createGunzip } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SourceError } from "../../src/worker/install/archive.ts";
import { fetchCommit } from "../../src/worker/install/git.ts";

const scratch = mkdtempSync(join(tmpdir(), "attune-git-"));
const MiB = 1024 * 1024;
const requests: string[] = [];
const site = createServer((request, response) => {
  requests.push(`${request.method} ${request.headers.host}${request.url}`);
  if (request.url?.startsWith("/endless.git/")) serveEndless(request, response);
  else serveRepository(request, response);
});
let port: number;

beforeAll(async () => {
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  port = (site.address() as AddressInfo).port;
});
afterAll(() => {
  site.close();
  site.closeAllConnections();
  rmSync(scratch, { recursive: true, force: true });
});

/** Creates a repository with one commit of these files, and returns its directory and the commit. */
function repository(name: string, files: Record<string, Buffer | string>): { directory: string; commit: string } {
  const directory = join(scratch, name);
  mkdirSync(directory);
  for (const [path, content] of Object.entries(files)) writeFileSync(join(directory, path), content);
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", ...args], {
      cwd: directory,
      encoding: "utf8",
    }).trim();
  git("init", "--quiet", "--initial-branch", "main");
  git("add", ".");
  git("commit", "--quiet", "-m", "first");
  return { directory, commit: git("rev-parse", "HEAD") };
}

const packet = (line: string) => `${(line.length + 4).toString(16).padStart(4, "0")}${line}`;

/** Serves the repositories in the scratch directory by the smart protocol. */
function serveRepository(request: IncomingMessage, response: ServerResponse): void {
  const [, name = "", isAdvertised] = /^\/([a-z]+)\.git\/(info\/refs)?/.exec(request.url ?? "") ?? [];
  const args = ["upload-pack", "--stateless-rpc", ...(isAdvertised ? ["--advertise-refs"] : []), join(scratch, name)];
  const kind = isAdvertised ? "advertisement" : "result";
  response.setHeader("content-type", `application/x-git-upload-pack-${kind}`);
  if (isAdvertised) response.write(`${packet("# service=git-upload-pack\n")}0000`);
  const child = spawn("git", args);
  child.stdin.on("error", () => {});
  const body = request.headers["content-encoding"] === "gzip" ? request.pipe(createGunzip()) : request;
  body.pipe(child.stdin);
  child.stdout.pipe(response);
}

const commitOfEndless = createHash("sha1").update("endless").digest("hex");

/** Serves a repository whose only pack never ends: one object that is said to be huge, and is random. */
function serveEndless(request: IncomingMessage, response: ServerResponse): void {
  if (request.url?.includes("info/refs")) {
    response.setHeader("content-type", "application/x-git-upload-pack-advertisement");
    const refs = `${packet(`${commitOfEndless} HEAD\0shallow\n`)}${packet(`${commitOfEndless} refs/heads/main\n`)}0000`;
    return void response.end(`${packet("# service=git-upload-pack\n")}0000${refs}`);
  }
  response.setHeader("content-type", "application/x-git-upload-pack-result");
  const body = request.headers["content-encoding"] === "gzip" ? request.pipe(createGunzip()) : request;
  void text(body).then((asked): void => {
    response.write(`${packet(`shallow ${commitOfEndless}\n`)}0000`);
    if (!asked.includes("done")) return void response.end();
    response.write(packet("NAK\n"));
    // A pack of the version 2 with one blob of 64 GiB.
    response.write(Buffer.from("5041434b0000000200000001", "hex"));
    response.write(Buffer.from([0xb0, 0x80, 0x80, 0x80, 0x80, 0x10]));
    const deflate = createDeflate({ level: 0 });
    deflate.pipe(response);
    const more = () => {
      while (!response.destroyed && deflate.write(randomBytes(64 * 1024)));
    };
    deflate.on("drain", more);
    response.on("close", () => deflate.destroy());
    more();
  });
}

let count = 0;

/** Fetches a commit into a new directory; names are resolved to the given address. */
async function fetched(
  url: string,
  { address = "127.0.0.1", mostBytes = 256 * MiB, searchPath = process.env["PATH"] ?? "" } = {},
) {
  count += 1;
  const directory = join(scratch, `fetch-${count}`);
  mkdirSync(directory);
  const file = join(scratch, `fetch-${count}.tar`);
  const written: string[] = [];
  const commit = await fetchCommit({ url, ref: null }, file, {
    ...{ directory, searchPath, variables: {}, mostBytes },
    allowed: ["file://", new URL(url).origin],
    reach: { addressesOf: async () => [{ address, family: 4 }] },
    signal: new AbortController().signal,
    onOutput: (line) => written.push(line),
  }).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : error} ${written.join("")}`, { cause: error });
  });
  return { commit, file };
}

describe("git", () => {
  test("connects to the address that was checked, whatever the name resolves to by now", async () => {
    const { commit } = repository("pinned", { "pack.yaml": "ref: pinned\n" });
    // The name exists nowhere but in the option.
    const found = await fetched(`http://pinned.invalid:${port}/pinned.git`);
    expect(found.commit).toBe(commit);
    expect(readFileSync(found.file, "latin1")).toContain("ref: pinned\n");
    expect(requests[0]).toBe(`GET pinned.invalid:${port}/pinned.git/info/refs?service=git-upload-pack`);
    // By itself git would find this server, as an attacker's second answer would let it.
    requests.length = 0;
    await expect(fetched(`http://localhost:${port}/pinned.git`, { address: "127.0.0.2" })).rejects.toThrow(
      /^git fetch failed: it exited with code 128/,
    );
    expect(requests).toEqual([]);
  });

  test("that is too old to connect only to the checked address is refused, unless there is nothing to pin", async () => {
    const { directory, commit } = repository("old", { "pack.yaml": "ref: old\n" });
    const bin = join(scratch, "bin");
    mkdirSync(bin);
    const searchPath = `${bin}:${process.env["PATH"]}`;
    const real = execFileSync("sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();
    const pretend = (version: string) =>
      writeFileSync(
        join(bin, "git"),
        `#!/bin/sh\nfor last; do :; done\n[ "$last" = --version ] && { echo "git version ${version}"; exit; }\nexec ${real} "$@"\n`,
        { mode: 0o755 },
      );
    const url = `http://pinned.invalid:${port}/old.git`;
    requests.length = 0;
    for (const version of ["2.36.6", "1.8.3.1", "2.9.5 (Apple Git-72)"]) {
      pretend(version);
      await expect(fetched(url, { searchPath })).rejects.toThrow(
        `The worker's Git ${version.split(" ")[0]} is too old: 2.37 or newer connects only to the address that was checked.`,
      );
    }
    expect(requests).toEqual([]);
    expect((await fetched(`file://${directory}`, { searchPath })).commit).toBe(commit);
    expect((await fetched(`http://127.0.0.1:${port}/old.git`, { searchPath })).commit).toBe(commit);
    for (const version of ["2.37.0", "2.100.1.windows.2", "3.0.0"]) {
      pretend(version);
      expect((await fetched(url, { searchPath })).commit).toBe(commit);
    }
  });

  test.each([
    ["a repository", { big: randomBytes(3 * MiB) }],
    ["an archive of a small repository", { zeros: Buffer.alloc(3 * MiB) }],
  ])("may not write more than the limit: %s", async (what, files) => {
    const { directory, commit } = repository(what.includes("small") ? "bomb" : "heavy", files);
    const url = `file://${directory}`;
    const error = await fetched(url, { mostBytes: 2 * MiB }).catch((cause: Error) => cause);
    expect(error).toMatchObject({ message: expect.stringContaining("The repository's files are larger than 2 MiB.") });
    expect((error as Error).cause).toBeInstanceOf(SourceError);
    expect((await fetched(url, { mostBytes: 8 * MiB })).commit).toBe(commit);
  });

  test("is ended when a server sends more than the limit, and more", async () => {
    const error = await fetched(`http://127.0.0.1:${port}/endless.git`, { mostBytes: 4 * MiB }).catch(
      (cause: Error) => cause,
    );
    expect(error).toMatchObject({ message: expect.stringContaining("The repository's files are larger than 4 MiB.") });
    expect(existsSync(join(scratch, `fetch-${count}.tar`))).toBe(false);
  });
});
