import { SaxesParser, type SaxesTagPlain } from "saxes";
import { type Collector, cut, ReportFault, type TestCase } from "./report.ts";

const deepest = 100;
const mostAttributes = 1000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what XML forbids and runners write nevertheless
const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** A test whose element is open, and what its elements say so far. */
interface Open {
  test: TestCase;
  isTodo: boolean;
  found: Set<string>;
}

/**
 * Reads JUnit's XML as pytest, Node.js, Vitest, Mocha and others write it. Control characters are replaced, document types refused.
 * Throws ReportFault with the position where it cannot go on.
 */
export async function readJunit(pieces: AsyncIterable<string>, tests: Collector): Promise<void> {
  const reader = new JunitReader(tests);
  for await (const piece of pieces) reader.write(piece.replaceAll(forbidden, "\ufffd"));
  reader.end();
}

class JunitReader {
  readonly #parser = new SaxesParser<{ xmlns: false; position: true }>({ xmlns: false, position: true });
  readonly #tests: Collector;
  readonly #path: string[] = [];
  readonly #suites: string[] = [];
  #attributes = 0;
  #open: Open | null = null;
  #text = "";
  #declared = 0;
  #todos = 0;
  #isAtEnd = false;

  constructor(tests: Collector) {
    this.#tests = tests;
    this.#parser.on("error", (error) => this.#fail(error));
    this.#parser.on("doctype", () => {
      throw new ReportFault("unreadable", "The XML has a document type (DOCTYPE), which is refused.");
    });
    this.#parser.on("attribute", () => {
      this.#attributes += 1;
      if (this.#attributes > mostAttributes) throw this.#unreadable(`an element has over ${mostAttributes} attributes`);
    });
    this.#parser.on("opentagstart", () => {
      this.#attributes = 0;
    });
    this.#parser.on("opentag", (tag) => this.#opened(tag));
    this.#parser.on("closetag", ({ name }) => this.#closed(name));
    this.#parser.on("text", (text) => this.#wrote(text));
    this.#parser.on("cdata", (text) => this.#wrote(text));
  }

  write(piece: string): void {
    this.#parser.write(piece);
  }

  end(): void {
    this.#isAtEnd = true;
    this.#parser.close();
    if (this.#tests.failed === 0 && this.#todos === 0 && this.#declared > 0) {
      throw new ReportFault(
        "unreadable",
        `The XML counts ${this.#declared} failures and errors, of which it has no test.`,
      );
    }
  }

  #unreadable(message: string): ReportFault {
    return new ReportFault("unreadable", `The XML is unreadable at line ${this.#parser.line}: ${message}.`);
  }

  #fail(error: Error): void {
    const message = error.message.replace(/^\d+:\d+: /, "").replace(/\.$/, "");
    if (message.startsWith("malformed character entity")) return; // a reference to a control character stays as it is
    if (!this.#isAtEnd) throw this.#unreadable(message);
    const isEmpty = message.includes("document must contain a root element");
    throw isEmpty
      ? new ReportFault("unreadable", "The result is empty: it has no XML.")
      : new ReportFault("truncated", `The XML ends early, at line ${this.#parser.line}: ${message}.`);
  }

  #opened({ name, attributes }: SaxesTagPlain): void {
    if (this.#path.length === 0 && name !== "testsuites" && name !== "testsuite") {
      throw new ReportFault("unreadable", `The XML is no JUnit report: its root is "${cut(name, 100)}".`);
    }
    this.#path.push(name);
    if (this.#path.length > deepest) throw this.#unreadable(`elements are nested over ${deepest} deep`);
    this.#text = "";
    if (name === "testsuites" || name === "testsuite") this.#openedSuite(name, attributes);
    if (name === "testcase") {
      const test: TestCase = {
        name: nameOf(attributes),
        status: "passed",
        durationMs: milliseconds(attributes["time"]),
      };
      this.#open = { test, isTodo: false, found: new Set() };
    }
    if (name === "failure" || name === "error") {
      this.#open ??= this.#ofSuite();
      this.#open.test.errorMessage ??= attributes["message"] ?? attributes["type"] ?? "";
    }
    if (name === "skipped" && this.#open) this.#open.isTodo ||= attributes["type"] === "todo";
  }

  #openedSuite(name: string, attributes: Readonly<Record<string, string>>): void {
    this.#suites.push(attributes["name"] ?? "");
    this.#declared = Math.max(this.#declared, count(attributes["failures"]) + count(attributes["errors"]));
    const isRoot = this.#path.length === 1;
    if (isRoot && name === "testsuites" && attributes["time"])
      this.#tests.durationMs = milliseconds(attributes["time"]);
  }

  /** A suite that failed outside of its tests counts as one. */
  #ofSuite(): Open {
    const test: TestCase = { name: this.#suites.at(-1) || "(suite)", status: "error", durationMs: 0 };
    return { test, isTodo: false, found: new Set() };
  }

  #wrote(text: string): void {
    if (this.#open && this.#text.length < 8192) this.#text = cut(this.#text + text);
  }

  #closed(name: string): void {
    this.#path.pop();
    if (name === "testsuites" || name === "testsuite") this.#suites.pop();
    const open = this.#open;
    if (!open) return;
    open.found.add(name);
    const text = this.#text.trim();
    this.#text = "";
    if (name === "system-out") open.test.stdout = text;
    if (name === "system-err") open.test.stderr = text;
    if (name === "failure" || name === "error") {
      const message = open.test.errorMessage ?? "";
      open.test.errorMessage = text.startsWith(message) ? text : [message, text].filter(Boolean).join("\n");
    }
    const isWhole = name === "testcase" || !this.#path.includes("testcase");
    if (isWhole) this.#add(open);
  }

  #add({ test, isTodo, found }: Open): void {
    this.#open = null;
    if (isTodo) this.#todos += 1;
    if (isTodo) test.status = "skipped";
    else if (found.has("error")) test.status = "error";
    else if (found.has("failure")) test.status = "failed";
    else if (found.has("skipped")) test.status = "skipped";
    this.#tests.add(test);
  }
}

/** The class or file is a part of the name, unless the name has it. Node.js calls all classes outside of suites "test". */
function nameOf({ classname = "", name = "" }: Readonly<Record<string, string>>): string {
  if (classname === "" || classname === "test" || name.includes(classname)) return name || "(unnamed)";
  return `${classname} > ${name}`;
}

const count = (text = "0") => (/^\d{1,9}$/.test(text) ? Number(text) : 0);

function milliseconds(seconds = ""): number {
  const value = Number(seconds.replaceAll(",", "")) * 1000;
  return value >= 0 && value < 1e12 ? value : 0;
}
