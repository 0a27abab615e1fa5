import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ResultFormat, readReport } from "../../src/pack-test/parse.ts";

const read = (format: ResultFormat, content: string | Uint8Array) => readReport(format, [Buffer.from(content)]);
const formats: readonly ResultFormat[] = ["simple", "junit-xml", "tap", "json"];
const counts = async (format: ResultFormat, content: string | Uint8Array) => {
  const { total, passed, failed, skipped, fault } = await read(format, content);
  return { total, passed, failed, skipped, fault };
};
const named = async (format: ResultFormat, content: string) =>
  (await read(format, content)).cases.map(({ name, status }) => `${status} ${name}`);

describe("real output", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "pack-test-"));
    write("package.json", '{"type": "module"}');
    write(
      "node/sample.test.js",
      `import { describe, it, test } from "node:test";
       import assert from "node:assert";
       test("adds", () => assert.equal(1 + 1, 2));
       describe("group", () => {
         it("holds", () => {});
         it("breaks", () => { console.log("colour \\x1b[31m"); assert.equal(1, 2); });
         // Skipped on purpose: the reader must count it as skipped.
         describe("deep", () => { it.skip("skipped", () => {}); it.todo("later"); });
       });
       test("known", { todo: true }, () => assert.equal(1, 3));`,
    );
    write(
      "vitest/sample.test.js",
      `test("adds", () => expect(1 + 1).toBe(2));
       describe("group", () => { test("breaks", () => { console.log("\\x1b[31m said"); expect("\\u0007a").toBe("b"); }); test.skip("skipped", () => {}); });`,
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function write(path: string, content: string): void {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }

  /** Returns what a program wrote; its tests fail, so it exits with 1. */
  function output(...args: string[]): Promise<string> {
    // This process is a part of a test run: the children are runs of their own.
    const own = Object.entries(process.env).filter(([name]) => !/^(NODE_|VITEST|TEST$|FORCE_COLOR)/.test(name));
    const options = { cwd: directory, env: Object.fromEntries(own), maxBuffer: 1e7 };
    return new Promise((done, reject) =>
      execFile(process.execPath, args, options, (error, stdout, stderr) =>
        error?.code === 1 ? done(stdout) : reject(error ?? new Error(`the tests pass: ${stdout}${stderr}`)),
      ),
    );
  }
  const ofNode = (reporter: string) => output("--test", `--test-reporter=${reporter}`, "node/*.test.js");
  const vitest = resolve("node_modules/vitest/vitest.mjs");
  const runVitest = (reporter: string, ...more: string[]) =>
    output(vitest, "run", "--globals", "--root", join(directory, "vitest"), "--reporter", reporter, ...more);
  const ofVitest = async (reporter: string) => {
    const to = join(directory, `vitest.${reporter}`);
    await runVitest(reporter, "--outputFile", to);
    return readFileSync(to, "utf8");
  };
  const ofNodeTests = { total: 6, passed: 2, failed: 1, skipped: 3, fault: null };
  const ofVitestTests = { total: 3, passed: 1, failed: 1, skipped: 1, fault: null };

  test("of Node.js's runner is read as TAP and as JUnit's XML, and counts only tests, not suites", async () => {
    const [tap, xml] = [await ofNode("tap"), await ofNode("junit")];
    expect(await counts("tap", tap)).toEqual(ofNodeTests);
    expect(await counts("junit-xml", xml)).toEqual(ofNodeTests);
    expect(await named("tap", tap)).toEqual([
      ...["passed adds", "passed group > holds", "failed group > breaks"],
      ...["skipped group > deep > skipped", "skipped group > deep > later", "skipped known"],
    ]);
    for (const format of ["tap", "junit-xml"] as const) {
      const { cases } = await read(format, format === "tap" ? tap : xml);
      expect(cases.find(({ name }) => name.endsWith("breaks"))?.errorMessage).toContain("1 == 2");
    }
    for (const end of [0.3, 0.6, 0.9]) {
      expect((await read("tap", tap.slice(0, tap.indexOf("1..3\n")))).fault?.kind).toBe("truncated");
      expect((await read("junit-xml", xml.slice(0, xml.length * end))).fault?.kind).toBe("truncated");
    }
  });

  test("of Vitest is read as JUnit's XML, as JSON and as TAP", async () => {
    const [xml, json, tap] = [await ofVitest("junit"), await ofVitest("json"), await runVitest("tap")];
    expect(await counts("junit-xml", xml)).toEqual(ofVitestTests);
    expect(await counts("json", json)).toEqual(ofVitestTests);
    expect(await counts("tap", tap)).toEqual(ofVitestTests);
    expect(await named("json", json)).toContain("failed group breaks");
    expect((await read("junit-xml", xml)).cases.find(({ status }) => status === "failed")?.name).toContain(
      "group > breaks",
    );
    expect((await read("json", json.slice(0, -20))).fault?.kind).toBe("truncated");
  });
});

describe("simple", () => {
  test("reads the counts of a script, the last of each, among other output", async () => {
    const content =
      "\u001b[32mRunning\u001b[0m\r\nTotal Tests: 9\nTotal Tests: 4\nPassed: 2\nFailed: 1\nSkipped: 1\nbye\n";
    expect(await counts("simple", content)).toEqual({ total: 4, passed: 2, failed: 1, skipped: 1, fault: null });
  });

  test("reads unittest's summary and the names of what failed", async () => {
    const begin = "FAIL: test_a (m.T.test_a)\n----\nERROR: test_b (m.T.test_b)\n\n-----\nRan 5 tests in 0.012s\n";
    const content = `${begin}\nFAILED (failures=1, errors=1, skipped=1, expected failures=1)\n`;
    expect(await counts("simple", content)).toEqual({ total: 5, passed: 2, failed: 2, skipped: 1, fault: null });
    expect(await named("simple", content)).toEqual(["failed test_a (m.T.test_a)", "error test_b (m.T.test_b)"]);
    expect((await read("simple", "Ran 2 tests in 1.500s\n\nOK\n")).durationMs).toBe(1500);
    expect((await read("simple", begin)).fault).toEqual({
      kind: "truncated",
      message: 'The output ends after "Ran … tests", before OK or FAILED.',
    });
    expect((await read("simple", "Ran 0 tests in 0.000s\n\nNO TESTS RAN\n")).fault?.kind).toBe("no_tests");
  });

  test("reads pytest's summary", async () => {
    const content =
      "FAILED tests/test_a.py::test_x - assert 1 == 2\n== 1 failed, 3 passed, 1 skipped, 1 xfailed, 2 warnings, 1 error in 61.20s (0:01:01) ==\n";
    expect(await counts("simple", content)).toEqual({ total: 7, passed: 3, failed: 2, skipped: 2, fault: null });
    expect(await named("simple", content)).toEqual(["failed tests/test_a.py::test_x"]);
    expect((await read("simple", "==== no tests ran in 0.01s ====\n")).fault?.kind).toBe("no_tests");
  });

  test("refuses counts that are missing or do not add up", async () => {
    expect((await read("simple", "Total Tests: 3\nPassed: 3\n")).fault).toEqual({
      kind: "truncated",
      message: 'The output has no line "Failed: N".',
    });
    expect((await read("simple", "Total Tests: 3\nPassed: 3\nFailed: 1\n")).fault).toEqual({
      kind: "unreadable",
      message: "The counts do not add up: 3 passed, 1 failed and 0 skipped of 3 tests.",
    });
  });
});

describe("JUnit's XML", () => {
  test("of pytest: failures, errors of fixtures, skipped tests and what each wrote", async () => {
    const content = `<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="0.1">
      <testcase classname="tests.test_a" name="test_ok" time="0.010"><system-out>said &lt;this&gt;</system-out></testcase>
      <testcase classname="tests.test_a" name="test_x" time="0.001"><failure message="assert 1 == 2">def test_x():
E   assert 1 == 2</failure></testcase>
      <testcase classname="tests.test_a" name="test_f" time="0"><error message="failed on setup">no database</error></testcase>
      <testcase classname="tests.test_a" name="test_s" time="0"><skipped type="pytest.skip" message="not now">x</skipped></testcase>
    </testsuite></testsuites>`;
    expect(await counts("junit-xml", content)).toEqual({ total: 4, passed: 1, failed: 2, skipped: 1, fault: null });
    const { cases } = await read("junit-xml", content);
    expect(cases[0]).toEqual({
      name: "tests.test_a > test_ok",
      status: "passed",
      durationMs: 10,
      stdout: "said <this>",
    });
    expect(cases[1]?.errorMessage).toBe("assert 1 == 2\ndef test_x():\nE   assert 1 == 2");
    expect(cases.map(({ status }) => status)).toEqual(["passed", "failed", "error", "skipped"]);
  });

  test("of mocha-junit-reporter: CDATA, and titles that the class repeats", async () => {
    const content = `<?xml version="1.0" encoding="UTF-8"?><testsuites name="Mocha Tests" time="0.0140" tests="2" failures="1">
      <testsuite name="Root Suite" tests="0" failures="0" time="0"></testsuite>
      <testsuite name="Sum" tests="2" failures="1" time="0.009"><testcase name="Sum adds" time="0.001" classname="adds"></testcase>
      <testcase name="Sum breaks" time="0.002" classname="breaks"><failure message="no &#x1b;[31m" type="AssertionError"><![CDATA[Error: <no> ]]></failure></testcase>
      </testsuite></testsuites>`;
    expect(await counts("junit-xml", content)).toEqual({ total: 2, passed: 1, failed: 1, skipped: 0, fault: null });
    expect(await named("junit-xml", content)).toEqual(["passed Sum adds", "failed Sum breaks"]);
    expect((await read("junit-xml", content)).durationMs).toBe(14);
  });

  test("tolerates control characters, refuses document types and what is no report", async () => {
    const content =
      "<testsuite><testcase name='a\u001b[1m'><system-out>\u0000b&#0;\uffff</system-out></testcase></testsuite>";
    expect(await counts("junit-xml", content)).toEqual({ total: 1, passed: 1, failed: 0, skipped: 0, fault: null });
    const fault = async (xml: string) => (await read("junit-xml", xml)).fault;
    const bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>';
    expect(await fault(bomb)).toEqual({
      kind: "unreadable",
      message: "The XML has a document type (DOCTYPE), which is refused.",
    });
    expect(await fault("<html></html>")).toEqual({
      kind: "unreadable",
      message: 'The XML is no JUnit report: its root is "html".',
    });
    expect((await fault("<testsuite>\n<a></b></testsuite>"))?.message).toMatch(/^The XML is unreadable at line 2: /);
    expect((await fault("<testsuite>&nothing;</testsuite>"))?.kind).toBe("unreadable");
  });

  test("a suite that fails outside of its tests fails, and so does one whose failures are missing", async () => {
    const outside = '<testsuite name="s"><testcase name="a"/><error message="teardown"/></testsuite>';
    expect(await named("junit-xml", outside)).toEqual(["passed a", "error s"]);
    expect((await read("junit-xml", '<testsuite failures="1"><testcase name="a"/></testsuite>')).fault?.kind).toBe(
      "unreadable",
    );
  });
});

describe("TAP", () => {
  test("counts leaves, and a test that fails although its subtests pass", async () => {
    const content = `TAP version 14
# Subtest: outer
    ok 1 - inner
    # Subtest: deep
        ok 1 - leaf # SKIP not now
        1..1
    ok 2 - deep
    1..2
not ok 1 - outer
  ---
  error: 'a hook failed'
  ...
ok 2 - alone
1..2
`;
    expect(await counts("tap", content)).toEqual({ total: 4, passed: 2, failed: 1, skipped: 1, fault: null });
    expect(await named("tap", content)).toEqual([
      ...["passed outer > inner", "skipped outer > deep > leaf", "failed outer", "passed alone"],
    ]);
  });

  test("of a plain producer without a version; without a plan, or with a test missing, it is incomplete", async () => {
    expect(await counts("tap", "1..2\nok\nnot ok 2 # TODO later\n")).toEqual({
      ...{ total: 2, passed: 1, failed: 0, skipped: 1, fault: null },
    });
    for (const content of ["ok 1\nok 2\n", "1..3\nok 1\nok 2\n", "ok 1\nBail out! no database\n"]) {
      expect((await read("tap", content)).fault?.kind, content).toBe("truncated");
    }
    expect((await read("tap", "1..0 # skip all\n")).fault?.kind).toBe("no_tests");
  });
});

describe("JSON", () => {
  test("of Attune's own shape and of Mocha; another shape is refused with the place", async () => {
    const own = {
      duration_ms: 5,
      test_suites: [
        {
          name: "s",
          test_cases: [
            { name: "a", status: "passed", duration_ms: 2 },
            { name: "b", status: "error", error_message: "e", stdout: "o", stderr: "r" },
          ],
        },
      ],
    };
    expect(await read("json", JSON.stringify(own))).toEqual({
      ...{ total: 2, passed: 1, failed: 1, skipped: 0, durationMs: 5, fault: null },
      cases: [
        { name: "s > a", status: "passed", durationMs: 2 },
        { name: "s > b", status: "error", durationMs: 0, errorMessage: "e", stdout: "o", stderr: "r" },
      ],
    });
    const ok = { fullTitle: "x ok", duration: 1, err: {} };
    const mocha = { stats: { duration: 7 }, passes: [ok], failures: [{ ...ok, err: { message: "m" } }], pending: [ok] };
    expect(await counts("json", JSON.stringify(mocha))).toEqual({
      total: 3,
      passed: 1,
      failed: 1,
      skipped: 1,
      fault: null,
    });
    expect(
      (await read("json", '{"test_suites": [{"test_cases": [{"name": "a", "status": "fine"}]}]}')).fault?.message,
    ).toContain("test_suites.0.test_cases.0.status");
  });
});

describe("what is no report", () => {
  test.each(formats)("is unreadable as %s: empty and binary output", async (format) => {
    const binary = Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 7919) % 256));
    const kind = format === "simple" ? "uncounted" : "unreadable";
    expect((await read(format, "")).fault?.kind).toBe(kind);
    expect((await read(format, binary)).fault?.kind).toBe(kind);
  });

  test.each(formats)("is not read beyond a limit as %s", async (format) => {
    function* endless() {
      for (;;) yield Buffer.alloc(1024 * 1024, " ");
    }
    expect((await readReport(format, endless())).fault?.message).toMatch(/^The result is larger than (16|64) MiB\.$/);
  });
});

describe("50 MB", () => {
  /** Repeats a text up to 50 MB, and keeps the most memory that was in use meanwhile. */
  function* fifty(text: string, begin: string, end: string, memory: { peak: number }) {
    const piece = Buffer.from(text.repeat(Math.ceil(65_536 / text.length)));
    yield Buffer.from(begin);
    for (let size = 0; size < 50e6; size += piece.length) {
      yield piece;
      memory.peak = Math.max(memory.peak, process.memoryUsage().rss);
    }
    yield Buffer.from(end);
  }
  const failing = `not ok - ${"x".repeat(100)}\n  ---\n  error: "${"y".repeat(300)}"\n  ...\n`;

  test.each<[string, ResultFormat, string, string, string, string | null]>([
    [
      "tests",
      "junit-xml",
      '<testcase name="a"><failure message="no">text</failure></testcase>',
      "<testsuite>",
      "</testsuite>",
      null,
    ],
    [
      "output of one test",
      "junit-xml",
      "said\n",
      '<testsuite><testcase name="a"><system-out>',
      "</system-out></testcase></testsuite>",
      null,
    ],
    ["nested elements", "junit-xml", "<a>", "<testsuite>", "", "nested over 100 deep"],
    ["attributes", "junit-xml", 'a="b" ', "<testsuite ", "/>", "unreadable"],
    ["failing tests", "tap", failing, "", "", "incomplete"],
    ["comments", "tap", "# said\n", "ok 1\n", "1..1\n", null],
    ["diagnostics of one test", "tap", "  a: b\n", "ok 1\n  ---\n", "  ...\n1..1\n", null],
    ["one line", "simple", "x", "Total Tests: 1\nPassed: 1\n", "\nFailed: 0\n", null],
    ["lists", "json", "[{}],", "[", "]", "larger than 16 MiB"],
  ])(
    "of %s as %s are read in bounded memory and time",
    { timeout: 60_000 },
    async (_what, format, text, begin, end, message) => {
      const memory = { peak: 0 };
      const before = process.memoryUsage().rss;
      const report = await readReport(format, fifty(text, begin, end, memory));
      if (message === null) expect(report.fault).toBeNull();
      else expect(report.fault?.message).toContain(message);
      expect(memory.peak - before).toBeLessThan(700e6); // of a process in which other tests ran before
      expect(report.cases.length).toBeLessThanOrEqual(10_000);
    },
  );
});
