import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setEnabled } from "../../src/access/rows.ts";
import { updateRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";
import { sensorPack, watching } from "./pack.ts";

const write = packDirectories();
let world: World;
let watch: ReturnType<typeof watching>;

/** Each begins with an event, and then stays until it is ended. */
const sensors = {
  shell: {
    program: `printf '{"trigger": "watch.shell", "payload": {"n": 1}}\\n'; exec sleep 600`,
  },
  python: {
    runner: "python",
    program: `
import json, os, time
print(json.dumps({"trigger": "watch.python", "payload": {"n": 1, "text": json.load(open(os.environ["ATTUNE_PARAMETER_FILE"]))["greeting"]}}))
time.sleep(600)`,
    more: "parameters: {greeting: {type: string, default: hello}}",
  },
  node: {
    runner: "node",
    program: `
console.log(JSON.stringify({ trigger: "watch.node", payload: { n: process.pid } }));
setInterval(() => {}, 600000);`,
  },
  lines: {
    triggers: ["lines", "other"],
    program: `
echo 'no json'
echo '{"trigger": "watch.shell", "payload": {"n": 1}}'
echo '{"trigger": "watch.lines", "payload": {"n": "one"}}'
echo '{"trigger": "watch.lines", "payload": {"n": 1}, "extra": 1}'
echo '{"trigger": "watch.lines", "payload": {"n": 2}, "dedup": "two"}'
echo '{"trigger": "watch.lines", "payload": {"n": 3}, "dedup": "two"}'
echo '[]'
echo '{"trigger": "watch.other", "payload": {"n": 4}}'
exec sleep 600`,
  },
  crash: {
    program: `echo "tried: $(date +%s)" >&2; echo "no more paper" >&2; exit 3`,
  },
  secret: {
    program: `
read -r line < "$ATTUNE_PARAMETER_FILE"
echo "got $line" >&2
echo "{\\"trigger\\": \\"watch.secret\\", \\"payload\\": {\\"n\\": 1, \\"text\\": \\"hunter22222\\"}}"
exec sleep 600`,
    more: "parameters: {password: {type: string, secret: true}}\nconfig: {password: hunter22222}",
  },
  rules: {
    program: `
printf '%s\\n' "$ATTUNE_SENSOR_TRIGGERS" >&2
trap 'exit 0' TERM
while :; do sleep 1 & wait; done`,
  },
  stubborn: {
    program: `trap '' TERM; echo '{"trigger": "watch.stubborn", "payload": {"n": 1}}'; while :; do sleep 1; done`,
  },
  escape: { program: `setsid sleep 600 & echo "left $!" >&2; sleep 0.2; exit 1` },
  idle: { program: "exit 1" },
} as const;

beforeAll(async () => {
  world = await createWorld();
  watch = watching(world);
  await watch.load(write(sensorPack(sensors as never)));
  for (const name of Object.keys(sensors)) {
    if (name !== "idle") await world.rule(`watch.${name}`, { triggerParams: { path: `/${name}` } });
  }
  world.startSensors({ backoffMs: 20, graceMs: 400 });
}, 30_000);
afterAll(() => world[Symbol.asyncDispose]());

describe("a sensor", () => {
  test.each([
    ["shell", { n: 1 }],
    ["python", { n: 1, text: "hello" }],
    ["node", { n: expect.any(Number) }],
  ])("in %s emits events", async (name, payload) => {
    await until(async () => (await watch.payloads(name)).length > 0, "its event");
    expect(await watch.payloads(name)).toEqual([payload]);
    const row = await until(async () => {
      const found = await watch.processOf(name);
      return found?.status === "running" ? found : null;
    }, "its status");
    expect(row).toMatchObject({ restarts: 0, failures: 0, lastError: null, generation: "1" });
    const [event] = await world.all(
      sql`select source_ref, generation from attune.event where trigger_ref = ${`watch.${name}`}`,
    );
    expect(event).toEqual({ source_ref: `watch.${name}`, generation: 0 });
  });

  test("goes on after lines that are no events of its own, and its log says what is wrong with each", async () => {
    await until(async () => (await watch.payloads("other")).length > 0, "the event after them");
    expect(await watch.payloads("lines")).toEqual([{ n: 2 }]);
    expect(await watch.payloads("other")).toEqual([{ n: 4 }]);
    const log = await until(async () => {
      const text = await watch.log("lines", "system");
      return text.includes("line 7") ? text : "";
    }, "its log");
    const faults = log.split("\n").filter((line) => line.startsWith("stdout"));
    expect(faults).toEqual([
      expect.stringMatching(/^stdout, line 1: .*expected \{"trigger": .*: no json$/),
      expect.stringMatching(/^stdout, line 2: "watch.shell" is not a trigger of this sensor/),
      expect.stringMatching(/^stdout, line 3: payload\.n: expected a whole number, not a string: /),
      expect.stringMatching(/^stdout, line 4: .*"extra"/),
      expect.stringMatching(/^stdout, line 7: .*expected \{"trigger"/),
    ]);
  });

  test("that ends is started again after 1, 2, 4, 8 and 16 times the first delay, and its last stderr can be read", async () => {
    const row = await until(async () => {
      const found = await watch.processOf("crash");
      return found !== null && found.restarts >= 5 ? found : null;
    }, "five ends");
    expect(row.lastError).toMatch(
      /^The sensor exited with code 3. The end of its stderr: tried: \d+[\s\S]*no more paper$/,
    );
    const log = await watch.log("crash", "system");
    const delays = [...log.matchAll(/started again in ([\d.]+) s/g)].map(([, delay]) => Number(delay));
    expect(delays.slice(0, 5)).toEqual([0.02, 0.04, 0.08, 0.16, 0.32]);
    expect((await watch.log("crash", "stderr")).match(/no more paper/g)?.length).toBeGreaterThanOrEqual(5);
  });

  test("gets its secret settings, which are masked in its log and its events", async () => {
    await until(async () => (await watch.payloads("secret")).length > 0, "its event");
    expect(await watch.payloads("secret")).toEqual([{ n: 1, text: "[secret:config.password]" }]);
    await until(async () => (await watch.log("secret", "stderr")).includes("got"), "its log");
    expect(await watch.log("secret", "stderr")).toBe('got {"password":"[secret:config.password]"}\n');
    const stored = await world.one<{ config: unknown; manifest: string }>(
      sql`select s.config, r.manifest::text as manifest from attune.sensor s join attune.pack p on p.id = s.pack
        join attune.pack_release r on r.id = p.active_release where s.ref = 'watch.secret'`,
    );
    expect(stored.config).toEqual({ password: "[secret]" });
    expect(stored.manifest).not.toContain("hunter2");
  });

  test("is started anew with the rules that it serves when they change", async () => {
    const served = async () =>
      (await watch.log("rules", "stderr"))
        .trim()
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line));
    await until(async () => (await served()).length > 0, "its first start");
    const [rule] = await world.all<{ ref: string }>(sql`select ref from attune.rule where trigger_ref = 'watch.rules'`);
    const ref = rule?.ref ?? "";
    expect(await served()).toEqual([[{ trigger: "watch.rules", rule: ref, trigger_params: { path: "/rules" } }]]);
    await commit(world.services, updateRule, world.session, { ref, patch: { triggerParams: { path: "/new" } } });
    await until(async () => (await served()).length > 1, "its second start");
    expect((await served())[1]).toEqual([{ trigger: "watch.rules", rule: ref, trigger_params: { path: "/new" } }]);
    const second = await world.rule("watch.rules", { triggerParams: { path: "/second" } });
    await until(async () => (await served()).length > 2, "its third start");
    expect((await served())[2]).toHaveLength(2);
    expect(await watch.processOf("rules")).toMatchObject({ restarts: 0, failures: 0, lastError: null });
    await commit(world.services, updateRule, world.session, { ref: second, patch: { enabled: false } });
    await commit(world.services, updateRule, world.session, { ref, patch: { enabled: false } });
    await until(async () => (await watch.processOf("rules"))?.status === "stopped", "its stop, as no rule uses it");
  });

  test("that is disabled gets SIGTERM, and SIGKILL when it does not end", async () => {
    await until(async () => (await watch.processOf("stubborn"))?.status === "running", "its start");
    const pid = (await watch.processOf("stubborn"))?.pid ?? 0;
    await until(async () => (await watch.payloads("stubborn")).length > 0, "its event");
    await commit(world.services, setEnabled("sensor"), world.session, { ref: "watch.stubborn", enabled: false });
    await until(async () => (await watch.processOf("stubborn"))?.status === "stopping", "its stop", 5000);
    await until(async () => (await watch.processOf("stubborn"))?.status === "stopped", "its end", 5000);
    expect(() => process.kill(pid, 0)).toThrow("ESRCH");
  });

  test("leaves nothing behind that has left its process group", async () => {
    await until(async () => (await watch.processOf("escape"))?.restarts, "its end");
    const [, pid] = /left (\d+)/.exec(await watch.log("escape", "stderr")) ?? [];
    expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
  });

  test("does not run without an enabled rule on one of its triggers", async () => {
    expect(await watch.processOf("idle")).toBeNull();
  });
});
