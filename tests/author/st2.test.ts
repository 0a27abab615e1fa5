import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { conditionsOf } from "../../src/author/st2/criteria.ts";
import { timerOf } from "../../src/author/st2/timers.ts";
import { compileCriteria } from "../../src/lang/criteria.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { runCommand } from "../support/cli.ts";
import { packDirectories } from "../support/pack.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const directories = packDirectories();
const scratch = mkdtempSync(join(tmpdir(), "attune-st2-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const pack = "ref: sample\nname: Sample\nversion: '1.2'\nauthor: A\nkeywords: [one, two]\npython_versions: ['3']\n";
const action = (name: string, runner: string, more = "") => `name: ${name}\nrunner_type: ${runner}\n${more}`;
/** A pack in StackStorm's layout, with each kind of component. */
const sample: Record<string, string> = {
  "pack.yaml": pack,
  "config.schema.yaml": `region: {type: string, required: yes, default: north}
token: {type: string, secret: true, required: true}
account: {type: object, properties: {name: {type: string}, password: {type: string, secret: true}}}
`,
  "actions/lib/helper.py": "def shout(text):\n    return text.upper()\n",
  "actions/greet.py": `import os
import sys
from helper import shout
from st2common.runners.base_action import Action


class Greet(Action):
    def run(self, name, greeting, times, absent):
        print("printed by the action")
        self.logger.info("logged by the action")
        self.action_service.set_value("last", name)
        if name == "nobody":
            return (False, {"reason": "nobody is there"})
        return {
            "text": " ".join([greeting, shout(name)] * times),
            "absent": absent,
            "region": self.config["region"],
            "token": len(self.config["token"]),
            "password": len(self.config["account"]["password"]),
            "last": self.action_service.get_value("last"),
            "missing": self.action_service.get_value("never set"),
        }
`,
  "actions/greet.yaml": action(
    "Greet.Person",
    "python-script",
    `entry_point: greet.py
parameters:
  name: {type: string, required: true, description: Whom to greet.}
  greeting: {type: string, default: Hello, immutable: true}
  times: {type: integer, default: "1"}
  absent: {type: string}
`,
  ),
  "actions/list.yaml": action(
    "list",
    "local-shell-cmd",
    `parameters:
  directory: {type: string, required: true}
  loud: {type: boolean, default: no}
  cmd: {immutable: true, default: 'printf "<%s>" "{{ directory }}"{% if loud %} loud{% endif %}; echo'}
`,
  ),
  "actions/count.sh": '#!/bin/sh\nfor each in "$@"; do printf "[%s]" "$each"; done\n',
  "actions/count.yaml": action(
    "count",
    "local-shell-script",
    `entry_point: count.sh
parameters:
  second: {type: array, position: 1}
  first: {type: string, position: 0, default: '{{ named }}!'}
  named: {type: string, default: x y}
  flag: {type: boolean, default: true}
`,
  ),
  "actions/fetch.yaml": action(
    "fetch",
    "http-request",
    "parameters:\n  id: {type: integer}\n  base: {type: string}\n  url: {type: string, immutable: true, default: '{{ base }}/things/{{ id }}'}\n",
  ),
  "actions/nothing.yaml": action("nothing", "noop"),
  // Its files must not meet those of the wrappers.
  "actions/pack.yaml": action("pack", "noop"),
  "actions/confirm.yaml": action(
    "confirm",
    "inquirer",
    "parameters:\n  schema: {type: object, default: {type: object, properties: {ok: {type: boolean, required: true}}}}\n",
  ),
  "actions/far.yaml": action("far", "remote-shell-cmd"),
  "actions/flow.yaml": action("flow", "orquesta", "entry_point: workflows/flow.yaml\n"),
  "actions/workflows/flow.yaml": "version: 1.0\n",
  "actions/client.py": "from st2client.client import Client\n",
  "actions/client.yaml": action("client", "python-script", "entry_point: client.py\n"),
  "sensors/tick.py": `from st2reactor.sensor.base import PollingSensor


class TickSensor(PollingSensor):
    def setup(self):
        self.count = 0

    def poll(self):
        self.count += 1
        self.sensor_service.dispatch(trigger="sample.ticked.once", payload={"count": self.count, "region": self.config["region"]})

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass
`,
  "sensors/tick.yaml": `class_name: TickSensor
entry_point: tick.py
poll_interval: 1
trigger_types:
  - name: ticked.once
    payload_schema: {type: object, properties: {count: {type: integer}, region: {type: string}}}
`,
  "rules/hook.yaml": `name: hook
enabled: true
trigger: {type: core.st2.webhook, parameters: {url: sample/hook}}
criteria:
  trigger.body.name: {type: exists}
  trigger.body.name#2: {type: nequals, pattern: skipped}
action: {ref: sample.Greet.Person, parameters: {name: "{{ trigger.body.name }}", times: "2"}}
`,
  "rules/local.yaml": `name: local
enabled: true
trigger: {type: core.st2.webhook, parameters: {url: sample/hook}}
action: {ref: core.local, parameters: {cmd: 'printf "%s;" "{{ trigger.body.name }}" {{ trigger.body.name }}'}}
`,
  "rules/tick.yaml": `name: tick
enabled: true
trigger: {type: sample.ticked.once}
criteria: {trigger.count: {type: lt, pattern: 2}}
action: {ref: core.echo, parameters: {message: "tick {{ trigger.count }} {{ trigger.region }}"}}
`,
  "rules/timed.yaml": `name: timed
type: {ref: backstop, parameters: {}}
trigger: {type: core.st2.IntervalTimer, parameters: {unit: weeks, delta: 2}}
action: {ref: core.echo, parameters: {message: "{{ trigger.executed_at }}"}}
`,
  "rules/other.yaml":
    "name: other\ntrigger: {type: core.st2.webhook, parameters: {url: o}}\naction: {ref: chat.post, parameters: {}}\n",
  "aliases/greet.yaml": "name: greet\naction_ref: sample.Greet.Person\nformats: ['greet {{ name }}']\n",
  "policies/one.yaml":
    "name: one\nresource_ref: sample.list\npolicy_type: action.retry\nparameters: {retry_on: timeout, max_retry_count: 3, delay: 2}\n",
  "policies/two.yaml":
    "name: two\nresource_ref: sample.list\npolicy_type: action.concurrency\nparameters: {threshold: 4}\n",
  "tests/test_greet.py": "from st2tests.base import BaseActionTestCase\n",
  "README.md": "A pack.\n",
};

interface Report {
  components: { kind: string; name: string; result: string; notes: string[] }[];
  counts: Record<string, { carried: number; changed: number; not_carried: number }>;
}

async function imported(files: Record<string, string>, into: string, ...more: string[]) {
  const outcome = await runCommand([
    "pack",
    "import-st2",
    directories(files),
    "--into",
    into,
    "--output",
    "json",
    ...more,
  ]);
  return { ...outcome, report: outcome.code === 0 ? (JSON.parse(outcome.stdout) as Report) : null };
}

describe("a pack of StackStorm", () => {
  const into = join(scratch, "sample");
  let report: Report;
  let server: RunningServer;

  beforeAll(async () => {
    const outcome = await imported(sample, into);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    if (outcome.report) report = outcome.report;
    const file = join(into, "sensors/ticksensor.yaml");
    writeFileSync(file, `${readFileSync(file, "utf8")}config: {region: south, token: not-known}\n`);
    server = await startInProcess(undefined, { ATTUNE__PACKS__DIRS: into });
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  test("becomes a pack that passes the check, and the report has the result of each part", async () => {
    expect((await runCommand(["pack", "check", into])).code).toBe(0);
    const results = Object.fromEntries(report.components.map(({ kind, name, result }) => [`${kind} ${name}`, result]));
    expect(results).toEqual({
      ...{
        "pack sample": "changed",
        "setting region": "carried",
        "setting token": "changed",
        "setting account": "changed",
      },
      ...{
        "action Greet.Person": "changed",
        "action list": "changed",
        "action count": "carried",
        "action fetch": "carried",
      },
      ...{
        "action nothing": "carried",
        "action pack": "carried",
        "action confirm": "carried",
        "action far": "not_carried",
        "action flow": "not_carried",
      },
      ...{ "action client": "not_carried", "trigger ticked.once": "changed", "sensor TickSensor": "changed" },
      ...{
        "trigger webhook_sample_hook": "changed",
        "rule hook": "changed",
        "rule local": "changed",
        "rule tick": "carried",
      },
      ...{
        "rule timed": "carried",
        "rule other": "not_carried",
        "alias greet": "not_carried",
        "policy one": "changed",
      },
      ...{ "policy two": "not_carried", "tests tests/": "not_carried" },
    });
    expect(report.counts["action"]).toEqual({ carried: 5, changed: 2, not_carried: 3 });
    const silent = report.components.filter(({ result, notes }) => (result === "carried") !== (notes.length === 0));
    expect(silent).toEqual([]);
    expect(readdirSync(into)).not.toContain("tests");
    expect(parse(readFileSync(join(into, "actions/list.yaml"), "utf8"))).toMatchObject({
      retry: { max: 3, delay: 2, on: ["timeout"] },
    });
    expect(parse(readFileSync(join(into, "rules/timed.yaml"), "utf8"))).toMatchObject({
      backstop: true,
      trigger_params: { unit: "days", interval: 14 },
      action_params: { message: "{{ event.payload.fired_at }}" },
    });
  });

  const ended = async (id: string) =>
    await until(async () => {
      const { node } = await request<{
        node: { status: string; result: JsonObject; logs: { nodes: { text: string }[] } };
      }>(server, `query ($id: ID!) { node(id: $id) { ... on Execution { status result logs { nodes { text } } } } }`, {
        id,
      });
      return ["COMPLETED", "FAILED", "TIMEOUT"].includes(node.status) ? node : undefined;
    }, "the end of the execution");

  async function run(ref: string, parameters: JsonObject) {
    const { executeAction } = await request<{ executeAction: { execution: { id: string }; message?: string } }>(
      server,
      `mutation ($ref: String!, $parameters: JSONObject!) { executeAction(input: {action: $ref, parameters: $parameters}) {
        ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`,
      { ref, parameters },
    );
    expect(executeAction.message).toBeUndefined();
    return await ended(executeAction.execution.id);
  }

  async function ofRule(ref: string) {
    const id = await until(async () => {
      const { executions } = await request<{ executions: { nodes: { id: string }[] } }>(
        server,
        `query ($ref: String!) { executions(first: 1, where: {rule: {eq: $ref}}) { nodes { id } } }`,
        { ref },
      );
      return executions.nodes[0]?.id;
    }, `an execution of ${ref}`);
    return await ended(id);
  }

  async function setKey(name: string, value: string) {
    const { setKey } = await request<{ setKey: { message?: string } }>(
      server,
      `mutation ($name: String!, $value: String!) { setKey(input: {owner: {pack: "sample"}, name: $name, value: $value}) {
        ... on Error { message } } }`,
      { name, value },
    );
    expect(setKey.message).toBeUndefined();
  }

  test("runs Python actions with their base class, settings, keys and libraries", async () => {
    await setKey("token", "a secret token");
    await setKey("account__password", "open sesame");
    const done = await run("sample.greet_person", { name: "Ann", times: 2 });
    expect(done.logs.nodes.map(({ text }) => text).join("")).toContain("printed by the action");
    expect(done.logs.nodes.map(({ text }) => text).join("")).toContain("logged by the action");
    expect(done).toMatchObject({ status: "COMPLETED" });
    expect(done.result["data"]).toEqual({
      ...{
        text: "Hello ANN Hello ANN",
        absent: null,
        region: "north",
        token: 14,
        password: 11,
        last: "Ann",
        missing: null,
      },
    });
    const failed = await run("sample.greet_person", { name: "nobody" });
    expect(failed).toMatchObject({ status: "FAILED", result: { data: { reason: "nobody is there" } } });
  });

  test("runs command lines, whose values are never code", async () => {
    const hostile = "\"; echo owned; $(echo owned) `echo owned` '";
    expect(await run("sample.list", { directory: hostile })).toMatchObject({ result: { data: `<${hostile}>` } });
    expect(await run("sample.list", { directory: "x", loud: true })).toMatchObject({ result: { data: "<x><loud>" } });
  });

  test("runs scripts with named and positional arguments", async () => {
    expect(await run("sample.count", { second: ["a", "b c"] })).toMatchObject({
      result: { data: "[--named=x y][--flag][x y!][a,b c]" },
    });
    expect(await run("sample.count", { flag: false, named: "", first: "one" })).toMatchObject({
      result: { data: "[one][]" },
    });
    expect(await run("sample.nothing", {})).toMatchObject({ status: "COMPLETED", result: { data: null } });
  });

  test("sends requests", async () => {
    await using http = createServer((incoming, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ path: incoming.url }));
    }).listen(0, "127.0.0.1");
    await until(() => http.listening, "the listener");
    const base = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    expect(await run("sample.fetch", { id: 7, base })).toMatchObject({
      result: { data: { status_code: 200, parsed: true, body: { path: "/things/7" } } },
    });
  });

  test("asks persons", async () => {
    const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(
      server,
      `mutation { executeAction(input: {action: "sample.confirm"}) { ... on ExecuteActionPayload { execution { id } } } }`,
    );
    const id = await until(async () => {
      const { inquiries } = await request<{ inquiries: { nodes: { id: string }[] } }>(
        server,
        "{ inquiries(first: 1, where: {status: {eq: PENDING}}) { nodes { id } } }",
      );
      return inquiries.nodes[0]?.id;
    }, "an inquiry");
    const { respondToInquiry } = await request<{ respondToInquiry: { message?: string } }>(
      server,
      `mutation ($id: ID!) { respondToInquiry(input: {id: $id, response: {ok: true}}) { ... on Error { message } } }`,
      { id },
    );
    expect(respondToInquiry.message).toBeUndefined();
    expect(await ended(executeAction.execution.id)).toMatchObject({ result: { data: { response: { ok: true } } } });
  });

  test("has rules that start its actions, on webhooks and on its sensor's events", async () => {
    const { triggerByRef } = await request<{ triggerByRef: { webhookPath: string } }>(
      server,
      `{ triggerByRef(ref: "sample.webhook_sample_hook") { webhookPath } }`,
    );
    for (const name of ["skipped", null, "$(id) Eve"]) {
      const response = await fetch(`${server.url}${triggerByRef.webhookPath}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(name === null ? {} : { name }),
      });
      expect(response.status).toBe(202);
    }
    expect(await ofRule("sample.hook")).toMatchObject({
      result: { data: { text: "Hello $(ID) EVE Hello $(ID) EVE" } },
    });
    const { rule } = await request<{ rule: { nodes: unknown[] } }>(
      server,
      `{ rule: executions(first: 10, where: {rule: {eq: "sample.hook"}}) { nodes { id } } }`,
    );
    expect(rule.nodes).toHaveLength(1);
    await until(async () => {
      const { executions } = await request<{ executions: { nodes: { result: JsonObject | null }[] } }>(
        server,
        `{ executions(first: 5, where: {rule: {eq: "sample.local"}}) { nodes { result } } }`,
      );
      return executions.nodes.some(({ result }) => result?.["data"] === "$(id) Eve;$(id);Eve;");
    }, "the output of the command");
    expect(await ofRule("sample.tick")).toMatchObject({ result: { data: "tick 1 south" } });
  });
});

describe("criteria", () => {
  const payload = {
    body: {
      name: "Bob",
      n: 5,
      nul: null,
      list: ["a"],
      tags: [
        { k: "x", v: 1 },
        { k: "y", v: 2 },
      ],
    },
    headers: { "x-a": "1" },
  };
  const text = (type: string, pattern: unknown, key = "trigger.body.name") => [key, { type, pattern }, true] as const;
  test.each([
    text("equals", "Bob"),
    text("eq", "Bob"),
    text("nequals", "x"),
    text("neq", "x"),
    text("iequals", "bOB"),
    text("ieq", "bOB"),
    text("contains", "o"),
    text("icontains", "O"),
    text("ncontains", "x"),
    text("incontains", "X"),
    text("startswith", "B"),
    text("istartswith", "b"),
    text("endswith", "b"),
    text("iendswith", "B"),
    text("matchwildcard", "B*"),
    text("matchregex", "Bo"),
    text("regex", "o"),
    text("iregex", "O"),
    text("in", ["Bob"]),
    text("inside", "Bob, Eve"),
    text("nin", ["x"]),
    text("ninside", "x, y"),
    text("lessthan", 6, "trigger.body.n"),
    text("lt", 6, "trigger.body.n"),
    text("greaterthan", 4, "trigger.body.n"),
    text("gt", 4, "trigger.body.n"),
    text("exists", null),
    text("nexists", null, "trigger.body.z"),
    text("nexists", null, "trigger.body.nul"),
    text("equals", "1", "trigger.headers['X-A']"),
    text("equals", "a", "trigger.body.list[0]"),
    ["trigger.body.nul", { type: "exists" }, false],
    ["trigger.body.z", { type: "ncontains", pattern: "x" }, false],
    ["trigger.body.z", { type: "nequals", pattern: "x" }, true],
    [
      "trigger.body.tags",
      {
        type: "search",
        condition: "any",
        pattern: { "item.k": { type: "equals", pattern: "x" }, "item.v": { type: "gt", pattern: 1 } },
      },
      false,
    ],
    [
      "trigger.body.tags",
      {
        type: "search",
        condition: "any",
        pattern: { "item.k": { type: "equals", pattern: "y" }, "item.v#1": { type: "gt", pattern: 1 } },
      },
      true,
    ],
    [
      "trigger.body.tags",
      { type: "search", condition: "all", pattern: { "item.v": { type: "gt", pattern: 1 } } },
      false,
    ],
    [
      "trigger.body.tags",
      {
        type: "search",
        condition: "any2any",
        pattern: { "item.k": { type: "equals", pattern: "z" }, "item.v": { type: "eq", pattern: 2 } },
      },
      true,
    ],
    [
      "trigger.body.tags",
      {
        type: "search",
        condition: "all2any",
        pattern: { "item.k": { type: "regex", pattern: "x" }, "item.v": { type: "eq", pattern: 2 } },
      },
      true,
    ],
    ["trigger.body.tags", { type: "search", condition: "all", pattern: { "item.z": { type: "nexists" } } }, true],
  ] as const)("%s %j: %j", (key, criterion, matched) => {
    const outcome = compileCriteria("all", conditionsOf({ [key]: criterion } as unknown as JsonObject))(payload);
    expect(outcome.criteria.map(({ error }) => error)).toEqual(outcome.criteria.map(() => null));
    expect(outcome.matched).toBe(matched);
  });

  test.each([
    ["trigger.body.t", { type: "timediff_lt", pattern: 5 }, "present time"],
    ["trigger.body.t", { type: "td_gt", pattern: 5 }, "present time"],
    ["trigger.body.t", { type: "equals", pattern: "{{ st2kv.system.x }}" }, "is a template"],
    ["trigger.body[*].t", { type: "equals", pattern: 1 }, "JSONPath"],
    ["system.x", { type: "equals", pattern: 1 }, 'must begin with "trigger."'],
    ["trigger.t", { type: "near", pattern: 1 }, 'no operator "near"'],
    ["trigger.t", { type: "equals" }, "never holds"],
    ["trigger.t", { type: "search", condition: "some", pattern: {} }, "any, all"],
  ])("%s %j is refused", (key, criterion, reason) => {
    expect(() => conditionsOf({ [key]: criterion })).toThrow(reason);
  });
});

test.each([
  [{ minute: "*/5" }, "*/5 * * * *"],
  [{ hour: 6, minute: 30, day_of_week: "0-4" }, "30 6 * * MON-FRI"],
  [{ day_of_week: 6 }, "0 0 * * SUN"],
  [{ day: "last", hour: 1 }, "0 1 L * *"],
  [{ second: "*/10" }, "*/10 * * * * *"],
  [{ month: "jan", timezone: "Europe/Berlin" }, "0 0 1 JAN *"],
])("the cron timer %j is %s", (parameters, expression) => {
  expect(timerOf("core.st2.CronTimer", parameters as unknown as JsonObject)?.parameters).toMatchObject({ expression });
});

describe("hostile and broken packs", () => {
  const only = { "pack.yaml": pack, "actions/nothing.yaml": action("nothing", "noop") };
  const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b, *b, *b]\n`;

  test.each([
    ["no pack.yaml", {}, "pack.yaml: is missing"],
    ["unreadable YAML", { "pack.yaml": "ref: [\n" }, "pack.yaml:2:1"],
    ["a bomb", { "pack.yaml": bomb }, "contains aliases itself"],
    ["no name", { "pack.yaml": "version: 1.0.0\n" }, "no ref or name"],
    [
      "nothing that can be carried",
      { "pack.yaml": pack, "actions/a.yaml": action("a", "orquesta") },
      "action a: workflows",
    ],
  ])("%s: fails with the reason, and leaves nothing", async (name, files, reason) => {
    const place = join(scratch, name.replaceAll(/\W/g, "-"));
    const { code, stderr } = await imported(files, join(place, "out"));
    expect(code).toBe(1);
    expect(stderr).toContain(reason);
    expect(existsSync(place) ? readdirSync(place) : []).toEqual([]);
  });

  test.each([
    ["a bomb", { "actions/bad.yaml": bomb }, "actions/bad.yaml:3"],
    ["unreadable YAML", { "actions/bad.yaml": "name: bad\n  x: [\n" }, "actions/bad.yaml:1"],
    ["a deep file", { "rules/bad.yaml": `a: ${"[".repeat(5000)}` }, "nested too deeply"],
    [
      "an entry point above",
      { "actions/bad.yaml": action("bad", "python-script", "entry_point: ../../x.py\n") },
      "no path below",
    ],
    [
      "an absolute entry point",
      { "actions/bad.yaml": action("bad", "python-script", "entry_point: /etc/passwd\n") },
      "no path below",
    ],
    [
      "a missing entry point",
      { "actions/bad.yaml": action("bad", "python-script", "entry_point: no.py\n") },
      "there is no file actions/no.py",
    ],
    [
      "an inherited name as a runner",
      { "actions/bad.yaml": action("bad", "constructor") },
      'the runner "constructor" is unknown',
    ],
    [
      "a prototype",
      { "actions/bad.yaml": action("bad", "noop", "parameters: {__proto__: {type: string}}\n") },
      "__proto__",
    ],
    ["an unknown runner", { "actions/bad.yaml": action("bad", "magic") }, 'the runner "magic" is unknown'],
    ["the name of another", { "actions/two.yaml": action("Nothing", "noop") }, "which another action has"],
    [
      "a name that is no parameter",
      { "actions/bad.yaml": action("bad", "noop", "parameters: {'a b': {type: string}}\n") },
      "its name must be",
    ],
    [
      "a rule without its action",
      {
        "rules/bad.yaml":
          "name: bad\ntrigger: {type: core.st2.webhook, parameters: {url: x}}\naction: {ref: sample.no}\n",
      },
      'no action "sample.no"',
    ],
    [
      "parameters that do not fit",
      {
        "rules/bad.yaml":
          "name: bad\ntrigger: {type: core.st2.webhook, parameters: {url: x}}\naction: {ref: sample.nothing, parameters: {x: 1}}\n",
      },
      "action_params.x",
    ],
    [
      "a date in the past",
      {
        "rules/bad.yaml":
          "name: bad\ntrigger: {type: core.st2.DateTimer, parameters: {date: nonsense}}\naction: {ref: sample.nothing}\n",
      },
      "trigger_params.date",
    ],
  ])("%s is left out with its reason", async (_, files, reason) => {
    const { report, stderr } = await imported({ ...only, ...files }, join(mkdtempSync(join(scratch, "out-")), "x"));
    expect(stderr).toBe("");
    const left = report?.components.filter(({ result }) => result === "not_carried") ?? [];
    expect(left).toHaveLength(1);
    expect(left[0]?.notes.join("\n")).toContain(reason);
  });

  test("links are not followed, and modes are kept", async () => {
    const directory = directories({ ...only, "actions/run.sh": "#!/bin/sh\necho ok\n" });
    chmodSync(join(directory, "actions/run.sh"), 0o755);
    symlinkSync("/etc/passwd", join(directory, "actions/secret.txt"));
    const into = join(scratch, "links");
    const { code, stdout } = await runCommand(["pack", "import-st2", directory, "--into", into]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/file +actions\/secret\.txt +not carried +a symbolic link/);
    expect(readdirSync(join(into, "actions")).sort()).toEqual(["nothing.yaml", "run.sh"]);
  });

  test("a target that exists is replaced by force only, and only if it is a pack", async () => {
    const into = join(scratch, "target");
    expect((await imported(only, into)).code).toBe(0);
    writeFileSync(join(into, "left.txt"), "x");
    const again = await imported(only, into);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("exists: name another directory") });
    expect(existsSync(join(into, "left.txt"))).toBe(true);
    expect((await imported(only, into, "--force")).code).toBe(0);
    expect(existsSync(join(into, "left.txt"))).toBe(false);
    const foreign = join(scratch, "foreign");
    mkdirSync(foreign);
    writeFileSync(join(foreign, "mine.txt"), "x");
    expect(await imported(only, foreign, "--force")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is not replaced"),
    });
    expect(readdirSync(scratch).filter((name) => name.startsWith("."))).toEqual([]);
  });

  test("a target that a killed import has put aside is put back by the next one", async () => {
    const into = join(scratch, "killed");
    expect((await imported(only, into)).code).toBe(0);
    writeFileSync(join(into, "left.txt"), "x");
    // As kill -9 leaves it between the two renames.
    renameSync(into, join(scratch, ".killed-a1B2c3-old"));
    expect(await imported(only, into)).toMatchObject({ code: 1, stderr: expect.stringContaining("exists") });
    expect(existsSync(join(into, "left.txt"))).toBe(true);
    renameSync(into, join(scratch, ".killed-a1B2c3-old"));
    mkdirSync(join(scratch, ".killed-other-a1B2c3-old"));
    expect((await imported(only, into, "--force")).code).toBe(0);
    expect(existsSync(join(into, "left.txt"))).toBe(false);
    expect(readdirSync(scratch).filter((name) => name.startsWith("."))).toEqual([".killed-other-a1B2c3-old"]);
    rmSync(join(scratch, ".killed-other-a1B2c3-old"), { recursive: true });
  });

  test("rules may use packs that are named", async () => {
    const lib = join(scratch, "lib");
    expect(
      (
        await imported(
          { "pack.yaml": "ref: lib\nname: lib\nversion: 1.0.0\n", "actions/a.yaml": action("do.it", "noop") },
          lib,
        )
      ).code,
    ).toBe(0);
    const rule = "name: r\ntrigger: {type: core.st2.webhook, parameters: {url: x}}\naction: {ref: lib.do.it}\n";
    const into = join(scratch, "user");
    const { report } = await imported({ ...only, "rules/r.yaml": rule }, into, "--with", lib);
    expect(report?.counts["rule"]).toEqual({ carried: 0, changed: 1, not_carried: 0 });
    expect(parse(readFileSync(join(into, "pack.yaml"), "utf8"))).toMatchObject({ dependencies: ["lib"] });
  });
});
