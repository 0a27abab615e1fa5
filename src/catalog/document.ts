import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLMap,
} from "yaml";
import type { z } from "zod";
import type { Issue } from "../errors.ts";
import { inexactness } from "../lib/json-text.ts";
import { explain, faultsOf } from "../lib/wording.ts";

const LARGEST = 128 * 1024;
const MOST_ALIASES = 100;
const MOST_SYNTAX_FAULTS = 10;
/** In steps of a node path, two for each map and one for each list entered. */
const DEEPEST = 100;
const TAGS = new Set(["str", "int", "float", "bool", "null", "map", "seq"].map((name) => `tag:yaml.org,2002:${name}`));

type Path = readonly PropertyKey[];

/** A checked YAML file: `value` is null when there are issues; `raw` is its unchecked content if the syntax is valid. */
export interface CheckedDocument<T> {
  value: T | null;
  raw: Readonly<Record<string, unknown>>;
  issues: Issue[];
  /** Returns an issue at the position of that field, or of the map that lacks it. */
  issueAt(path: Path, message: string): Issue;
}

/** Parses and checks YAML; issues have paths such as `actions/echo.yaml:12:3 parameters.message.type`. Does not throw. */
export function checkDocument<T>(file: string, content: Uint8Array, schema: z.ZodType<T>): CheckedDocument<T> {
  const text = decoded(content);
  const lines = new LineCounter();
  const document = parseDocument(text ?? "", {
    lineCounter: lines,
    prettyErrors: false,
    schema: "core",
    stringKeys: true,
    uniqueKeys: false,
    resolveKnownTags: false,
  });
  const issue = (offset: number, path: Path, message: string): Issue => {
    const { line, col } = lines.linePos(offset);
    const place = `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}`;
    return { path: path.length > 0 ? `${place} ${path.map(String).join(".")}` : place, message };
  };
  const issueAt = (path: Path, message: string) => issue(locate(document, path, false), path, message);
  const refused = (issues: Issue[]) => ({ value: null, raw: {}, issues, issueAt });

  if (text === null) return refused([issue(0, [], `expected at most ${LARGEST} bytes of UTF-8`)]);
  const syntax = syntaxFaults(document);
  if (syntax.length > 0) return refused(syntax.map(({ offset, message }) => issue(offset, [], message)));

  const raw: unknown = document.toJS({ maxAliasCount: -1 });
  const result = schema.safeParse(raw, { error: explain });
  return {
    value: result.success ? result.data : null,
    raw: isRecord(raw) ? raw : {},
    issues: result.success
      ? []
      : faultsOf(result.error).map(({ path, atKey, message }) => issue(locate(document, path, atKey), path, message)),
    issueAt,
  };
}

function decoded(content: Uint8Array): string | null {
  if (content.length > LARGEST) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    return null;
  }
}

interface SyntaxFault {
  offset: number;
  message: string;
}

function syntaxFaults(document: Document.Parsed): SyntaxFault[] {
  const errors = document.errors.map((error) => ({ offset: error.pos[0], message: error.message }));
  const exhausted = document.errors.findIndex((error) => error.code === "RESOURCE_EXHAUSTION");
  if (exhausted >= 0) return errors.slice(exhausted, exhausted + 1).map(({ offset }) => tooDeep(offset));
  if (errors.length > 0) return errors.slice(0, MOST_SYNTAX_FAULTS);
  return contentFaults(document);
}

const tooDeep = (offset: number) => ({ offset, message: "is nested too deeply" });

/** Finds valid YAML that a manifest may not contain: values that JSON cannot hold, other tags, aliases that expand without limit. */
function contentFaults(document: Document.Parsed): SyntaxFault[] {
  const faults: SyntaxFault[] = [];
  const checkAlias = aliasChecker();
  visit(document, {
    Node(_key, node, ancestors) {
      const offset = node.range?.[0] ?? 0;
      if (ancestors.length > DEEPEST) {
        faults.push(tooDeep(offset));
        return visit.BREAK;
      }
      const message = checkAlias(node, ancestors) ?? valueFault(node);
      if (message) faults.push({ offset, message });
      if (isMap(node)) faults.push(...keyFaults(node));
      return undefined;
    },
  });
  return faults.slice(0, MOST_SYNTAX_FAULTS);
}

function valueFault(node: Node): string | null {
  if (!isAlias(node) && node.tag && !TAGS.has(node.tag)) return `the tag ${node.tag} is not supported`;
  const value = isScalar(node) ? node.value : null;
  if (typeof value === "number") return inexactness((isScalar(node) && node.source) || String(value));
  // PostgreSQL cannot store NUL or lone surrogates.
  const storable = typeof value !== "string" || (value.isWellFormed() && !value.includes("\0"));
  return storable ? null : "expected text without NUL and lone surrogates";
}

// The parser's own check compares each key with all earlier ones: 128 KiB of keys would take many seconds.
function keyFaults(map: YAMLMap): SyntaxFault[] {
  const keys = new Set<unknown>();
  return map.items.flatMap(({ key }) => {
    if (!isScalar(key)) return [];
    const isRepeated = keys.has(key.value);
    keys.add(key.value);
    if (isRepeated) return [{ offset: start(key), message: `the key "${key.value}" is repeated` }];
    if (key.value !== "<<") return [];
    return [{ offset: start(key), message: "merge keys (<<) are not supported: write the fields out" }];
  });
}

/** Aliases of aliases grow exponentially, and an alias within its own anchor never ends, so only one level is allowed. */
function aliasChecker() {
  const anchors = new Set<string>();
  const compound = new Set<string>();
  let count = 0;
  return (node: Node, ancestors: readonly unknown[]): string | null => {
    if (!isAlias(node)) {
      if (node.anchor) anchors.add(node.anchor);
      return null;
    }
    count += 1;
    for (const ancestor of ancestors) if (isCollection(ancestor) && ancestor.anchor) compound.add(ancestor.anchor);
    if (!anchors.has(node.source)) return `there is no anchor &${node.source} before this alias`;
    if (compound.has(node.source)) return `the anchor &${node.source} contains aliases itself, which is not supported`;
    return count > MOST_ALIASES ? `expected at most ${MOST_ALIASES} aliases` : null;
  };
}

/** Returns the offset of the node at `path` (or of its key), or of the map or list that lacks the rest of the path. */
function locate(document: Document.Parsed, path: Path, atKey: boolean): number {
  let node = followed(document, document.contents);
  let offset = start(node);
  for (const [index, step] of path.entries()) {
    const pair = isMap(node) ? node.items.find(({ key }) => isScalar(key) && key.value === String(step)) : undefined;
    if (pair && atKey && index === path.length - 1) return start(pair.key);
    const next = isSeq(node) ? node.items[Number(step)] : pair?.value;
    if (!isNode(next)) return offset;
    node = followed(document, next);
    offset = start(node);
  }
  return offset;
}

const followed = (document: Document.Parsed, node: unknown) => (isAlias(node) ? node.resolve(document) : node);

const start = (node: unknown) => (isNode(node) ? (node.range?.[0] ?? 0) : 0);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
