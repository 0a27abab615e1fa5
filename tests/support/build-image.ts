// Carries out the Dockerfile without Docker, and starts what it built: npm run image
// Not carried out: the base image and its packages. Absolute paths are below a temporary directory, one for each stage.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { contextEntries, only, readDockerfile, type Stage } from "./dockerfile.ts";

const root = mkdtempSync(join(tmpdir(), "attune-image-"));
chmodSync(root, 0o755);
// A copy: the image's user may not enter the directory of the checkout.
const node = join(root, "bin/node");
cpSync(process.execPath, node);
const path = `${dirname(node)}:/usr/local/bin:/usr/bin:/bin`;
const rootOf = (stage: Stage) => join(root, stage.name ?? "image");
const within = (stage: Stage, text: string) =>
  text.replaceAll(/(?<![\w/])\/(?=(opt|var\/lib\/attune|usr\/local)\b)/g, `${rootOf(stage)}/`);

function build(stage: Stage, context: string): void {
  for (const each of ["opt", "usr/local/bin", "var/lib"]) mkdirSync(join(rootOf(stage), each), { recursive: true });
  let directory = rootOf(stage);
  for (const { name, text, words } of stage.instructions) {
    if (name === "WORKDIR") {
      directory = within(stage, text);
      mkdirSync(directory, { recursive: true });
    } else if (name === "COPY") {
      const [target = "", ...sources] = words.toReversed();
      const from = stages.find((other) => words[0] === `--from=${other.name}`);
      for (const source of sources.filter((word) => !word.startsWith("--"))) {
        const read = from ? within(from, source) : join(context, source);
        const written = target === "./" ? join(directory, basename(source)) : join(directory, target);
        cpSync(read, written, { recursive: true, verbatimSymlinks: true });
      }
    } else if (name === "RUN" && !text.startsWith("apt-get ")) {
      // As a build does, it uses the network of its machine.
      const env = { ...process.env };
      execFileSync("/bin/sh", ["-c", within(stage, text)], { cwd: directory, env, stdio: "inherit" });
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

/** Runs a command as the image's user would, with the image's environment and nothing else. */
function runIn(stage: Stage, words: string[], port: number) {
  const [user, group] = only(stage, "USER").text.split(":").map(Number);
  const env = Object.fromEntries(only(stage, "ENV").words.map((word) => word.split("=") as [string, string]));
  const asUser = process.getuid?.() === 0 ? { uid: user ?? 1, gid: group ?? 1 } : {};
  return spawn(words[0] === "node" ? node : join(rootOf(stage), "usr/local/bin", words[0] ?? ""), words.slice(1), {
    ...asUser,
    cwd: within(stage, only(stage, "WORKDIR").text),
    env: {
      ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, within(stage, value)])),
      PATH: path,
      ATTUNE__SERVER__PORT: String(port),
    },
    stdio: "inherit",
  });
}

async function exitOf(child: ReturnType<typeof runIn>): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

/** Starts the server, waits until the health check passes, asks for a sign-in link, and stops the server. */
async function tryOut(stage: Stage): Promise<void> {
  const port = await freePort();
  const server = runIn(stage, only(stage, "CMD").words, port);
  const until = Date.now() + 120_000;
  while ((await exitOf(runIn(stage, only(stage, "HEALTHCHECK").words, port))) !== 0) {
    if (Date.now() > until || server.exitCode !== null) throw new Error("the health check does not pass");
    await sleep(500);
  }
  const link = await exitOf(runIn(stage, ["attune", "link"], port));
  server.kill("SIGTERM");
  const code = await exitOf(server);
  if (link !== 0 || code !== 0) throw new Error(`attune link ended with ${link}, the server with ${code}`);
}

const stages = readDockerfile("Dockerfile");
try {
  const context = join(root, "context");
  for (const entry of contextEntries(".dockerignore")) cpSync(entry, join(context, entry), { recursive: true });
  for (const stage of stages) build(stage, context);
  const image = stages.at(-1);
  if (!image) throw new Error("the Dockerfile has no stages");
  if (process.getuid?.() !== 0) chownSync(join(rootOf(image), "var/lib/attune"), process.getuid?.() ?? 0, -1);
  await tryOut(image);
  process.stdout.write("the image's steps were carried out, and its server started, was healthy and stopped\n");
} finally {
  rmSync(root, { recursive: true, force: true });
}
