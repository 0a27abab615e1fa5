// Packs the program, installs it into an empty directory, and runs it there: npm run package
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const limitMs = 60_000;
const directory = mkdtempSync(join(tmpdir(), "attune-package-"));
// Nothing of the checkout but its Node.js, and no setting of this process.
const env = { PATH: process.env["PATH"] ?? "", HOME: directory, ATTUNE__DATA_DIR: join(directory, "data") };

const npm = (args: string[], cwd: string) => execFileSync("npm", args, { cwd, encoding: "utf8", timeout: limitMs });
const attune = (args: string[]) =>
  execFileSync("npx", ["--no-install", "attune", ...args], { cwd: directory, env, encoding: "utf8", timeout: limitMs });

function requireEqual(found: unknown, expected: unknown, what: string): void {
  if (found !== expected)
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
}

/** Every file that the README and the help refer to is there, but for what is about the tests. */
function requireLinked(root: string): void {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const links = [...readme.matchAll(/\]\(([^):#]+)[^):]*\)/g)].map(([, path = ""]) => path);
  const missing = links.filter((path) => !path.startsWith("tests/") && !existsSync(join(root, path)));
  requireEqual(missing.join(", "), "", "what the README refers to and the package lacks");
  const maps = readdirSync(join(root, "dist/module")).filter((name) => name.endsWith(".map"));
  const largest = Math.max(...maps.map((name) => statSync(join(root, "dist/module", name)).size));
  if (!(largest < 8_000_000)) throw new Error(`a source map has ${largest} bytes`);
}

/** An error of the program itself shows where it is in the sources. */
function requireSources(): void {
  const broken = "process.stdout.write = () => { throw new TypeError('broken on purpose'); };";
  const failing = spawnSync("node_modules/.bin/attune", ["pack", "--help"], {
    ...{ cwd: directory, encoding: "utf8", timeout: limitMs },
    env: { ...env, NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(broken)}"` },
  });
  requireEqual(failing.status, 1, "the exit code of a program with an error of its own");
  if (
    !/broken on purpose\n.* at Object\.writeOut \(\S+\/node_modules\/attune\/src\/cli\/program\.ts:\d+:\d+\)/s.test(
      failing.stderr,
    )
  ) {
    throw new Error(`the stack does not name the sources:\n${failing.stderr}`);
  }
}

/** Starts the installed server, asks it, runs an action in it, and stops it. */
async function tryServer(version: string): Promise<void> {
  const program = join(directory, "node_modules/.bin/attune");
  const server = spawn(program, ["serve"], { cwd: directory, env: { ...env, ATTUNE__SERVER__PORT: "0" } });
  let output = "";
  const ended = once(server, "exit");
  server.stderr.on("data", (data) => {
    output += data;
  });
  const listening = new Promise<string>((resolve) => {
    server.stdout.on("data", (data) => {
      output += data;
      const [, url] = /^attune listens on (\S+)$/m.exec(output) ?? [];
      if (url !== undefined) resolve(url);
    });
  });
  try {
    const late = AbortSignal.timeout(limitMs);
    const url = await Promise.race([listening, ended.then(() => null), once(late, "abort").then(() => null)]);
    if (url === null) throw new Error(`the server does not start:\n${output}`);
    const { token } = JSON.parse(readFileSync(join(directory, "data/credentials.json"), "utf8")) as { token: string };
    const access = ["--url", url, "--token", token];
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ query: "{ systemInfo { version } }" }),
    });
    const { data } = (await response.json()) as { data: { systemInfo: { version: string } } };
    requireEqual(data.systemInfo.version, version, "the version of the server");
    // Ends with another code than 0 unless the execution completes.
    const log = attune(["run", "core.shell", "command=echo installed", "--follow", ...access]);
    if (!log.includes("installed")) throw new Error(`the execution has not written its line:\n${log}`);
  } finally {
    server.kill("SIGTERM");
  }
  const [code] = await ended;
  requireEqual(code, 0, "the exit code of the server");
}

try {
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  npm(["pack", "--pack-destination", directory], ".");
  writeFileSync(join(directory, "package.json"), "{}");
  npm(["install", "--no-audit", "--no-fund", `./attune-${version}.tgz`], directory);
  requireLinked(join(directory, "node_modules/attune"));
  requireEqual(attune(["--version"]), `${version}\n`, "attune --version");
  requireSources();
  await tryServer(version);
  process.stdout.write("the package was installed, and its server started, ran an action and stopped\n");
} finally {
  rmSync(directory, { recursive: true, force: true });
}
