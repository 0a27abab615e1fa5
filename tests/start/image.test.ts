import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readConfig } from "../../src/config.ts";
import { contextEntries, only, readDockerfile } from "../support/dockerfile.ts";
import { type RunningServer, startInProcess } from "../support/server.ts";

const run = promisify(execFile);
const stages = readDockerfile("Dockerfile");
const [build, final] = [stages.at(0), stages.at(-1)];
if (!build || !final) throw new Error("the Dockerfile has no stages");

let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess();
});
afterAll(async () => await server[Symbol.asyncDispose]());

/** Runs a health check as its container would, where the server listens on that port, and returns its exit code. */
async function check([command = "", ...args]: string[], port: string): Promise<number> {
  const env = { PATH: process.env["PATH"] ?? "", ATTUNE__SERVER__PORT: port };
  const own = args.map((arg) => arg.replace("127.0.0.1:8080", `127.0.0.1:${port}`));
  return await run(command, own, { env }).then(
    () => 0,
    (error: { code: number }) => error.code,
  );
}

describe("the Dockerfile", () => {
  test("copies only what exists and what .dockerignore lets through, and all of that", () => {
    const context = contextEntries(".dockerignore");
    const copied = stages
      .flatMap(({ instructions }) => instructions)
      .filter(({ name, text }) => name === "COPY" && !text.startsWith("--from="))
      .flatMap(({ words }) => words.slice(0, -1));
    for (const source of copied) expect(existsSync(source), source).toBe(true);
    expect(new Set(copied)).toEqual(new Set(context));
  });

  test("has the version of Node.js that the program needs, and no dependencies of developers", () => {
    const { engines } = JSON.parse(readFileSync("package.json", "utf8")) as { engines: { node: string } };
    const major = /\d+/.exec(engines.node)?.[0];
    for (const { image } of stages) expect(image).toMatch(new RegExp(`^node:${major}-[a-z]+-slim$`));
    const steps = build.instructions.filter(({ name }) => name === "RUN").map(({ text }) => text);
    expect(steps.at(-1)).toMatch(/ && npm prune --omit=dev\b/);
  });

  test("runs as a user that is not root, under an init, and stops on the signal that the program handles", () => {
    expect(only(final, "USER").text).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    const last = final.instructions.findLastIndex(({ name }) => name === "RUN" || name === "COPY");
    expect(final.instructions.findIndex(({ name }) => name === "USER")).toBeGreaterThan(last);
    expect(only(final, "ENTRYPOINT").words).toEqual(["tini", "--"]);
    expect(only(final, "STOPSIGNAL").text).toBe("SIGTERM");
    expect(only(final, "CMD").words).toEqual(["node", "dist/attune.js", "serve"]);
  });

  test("sets only known settings, and has its data on a volume", () => {
    const env = Object.fromEntries(only(final, "ENV").words.map((word) => word.split("=") as [string, string]));
    const { dataDir, host } = readConfig({ ...env }, false);
    expect(host).toBe("0.0.0.0");
    expect(only(final, "VOLUME").text).toBe(dataDir);
  });

  test("checks its health: 0 while the server responds, 1 when nothing listens", async () => {
    const { words } = only(final, "HEALTHCHECK");
    expect(await check(words, new URL(server.url).port)).toBe(0);
    expect(await check(words, "1")).toBe(1);
  });
});

interface Service {
  image?: string;
  build?: string;
  environment: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck: { test?: string[]; disable?: boolean };
  secrets?: string[];
  volumes?: string[];
}

interface Compose {
  services: Record<string, Service>;
  secrets: Record<string, { file: string }>;
  volumes: Record<string, unknown>;
}

describe("compose.yaml", () => {
  const text = readFileSync("compose.yaml", "utf8");
  const compose = parse(text, { merge: true }) as Compose;
  const services = Object.entries(compose.services);
  const attune = services.filter(([, { image }]) => image === "attune");

  test("refers only to services, secrets and volumes that it defines, and uses all of them", () => {
    const secrets = services.flatMap(([, service]) => service.secrets ?? []);
    const volumes = services.flatMap(([, service]) => (service.volumes ?? []).map((each) => each.split(":")[0] ?? ""));
    expect(new Set(secrets)).toEqual(new Set(Object.keys(compose.secrets)));
    expect(new Set(volumes)).toEqual(new Set(Object.keys(compose.volumes)));
    for (const [name, { depends_on: needed = {} }] of services) {
      for (const [other, { condition }] of Object.entries(needed)) {
        expect(compose.services[other], `${name} depends on ${other}`).toBeDefined();
        if (condition === "service_healthy") expect(compose.services[other]?.healthcheck.test).toBeDefined();
      }
    }
  });

  test("sets what the server accepts, and no secret", () => {
    const roles = attune.flatMap(([, { environment }]) => {
      const { ATTUNE__SECURITY__ENCRYPTION_KEY_FILE: keyFile, ...env } = environment;
      expect(keyFile).toBe(`/run/secrets/${Object.keys(compose.secrets)[0]}`);
      const url = env["ATTUNE__DATABASE__URL"]?.replace(/\$\{\w+:\?[^}]*\}/, "secret");
      const config = readConfig({ ...env, ATTUNE__DATABASE__URL: url }, false);
      expect(URL.parse(config.databaseUrl ?? "")?.hostname).toBe("database");
      return [...config.roles];
    });
    expect(roles.toSorted()).toEqual(["api", "executor", "sensor", "worker"]);
    const passwords = text.match(/PASSWORD: .*|attune:[^@\n]*@/g) ?? [];
    expect(passwords.length).toBeGreaterThan(1);
    for (const password of passwords) expect(password).toContain("${POSTGRES_PASSWORD:?");
    expect(readFileSync(".gitignore", "utf8")).toContain("encryption.key\n");
  });

  test("builds the image once, and keeps its data where the image does", () => {
    expect(attune.filter(([, service]) => service.build !== undefined)).toHaveLength(1);
    for (const [, { volumes }] of attune) expect(volumes).toEqual([`data:${only(final, "VOLUME").text}`]);
  });

  test("checks the health of every process", async () => {
    for (const [name, { environment, healthcheck }] of attune) {
      if (!environment["ATTUNE__ROLES"]?.includes("api"))
        expect(environment["ATTUNE__METRICS__PORT"], name).toBe("8080");
      const [kind, ...command] = healthcheck.test ?? [];
      expect(kind).toBe("CMD");
      expect(await check(command, new URL(server.url).port)).toBe(0);
      expect(await check(command, "1")).toBe(1);
    }
  });

  test("names the server to the actions of workers as the server is called, and as it accepts", () => {
    const services = new Map(attune);
    const url = services.get("worker")?.environment["ATTUNE__SERVER__PUBLIC_URL"] ?? "";
    expect(new URL(url).port).toBe("8080");
    const { hostname } = new URL(url);
    expect(services.get(hostname)?.environment["ATTUNE__SERVER__HOSTS"]).toBe(hostname);
  });
});
