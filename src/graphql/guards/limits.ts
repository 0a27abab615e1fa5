import { complexityFromQuery } from "@pothos/plugin-complexity";
import {
  type DocumentNode,
  type ExecutionArgs,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLField,
  type GraphQLSchema,
  getOperationAST,
  isInterfaceType,
  isObjectType,
  Kind,
  Lexer,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  parse,
  type SelectionNode,
  type SelectionSetNode,
  Source,
  TokenKind,
  validate,
} from "graphql";
import type { Plugin } from "graphql-yoga";
import type { Context } from "../kit/context.ts";

/** The limits of one operation. */
const limits = {
  tokens: 5000,
  nesting: 100,
  aliases: 30,
  directives: 50,
  mutations: 10,
  depth: 16,
  breadth: 400,
  complexity: 25_000,
} as const;

/** What anonymous callers may spend: the schema once, or signing in. */
const anonymousComplexity = 10_000;
/** The cost of describing the whole schema, a response of almost two megabytes, and of describing one type. */
const introspectionCosts: Readonly<Record<string, number>> = { __schema: 8000, __type: 500 };

type Limit = keyof typeof limits;

const meanings: Readonly<Record<Limit, string>> = {
  tokens: "tokens",
  nesting: "nested brackets",
  aliases: "aliases",
  directives: "directives",
  mutations: "mutations",
  depth: "levels",
  breadth: "fields",
  complexity: "fields of objects, if every page is full",
};

/** The cost of an operation, which its result contains as `extensions.cost`. */
interface Cost {
  cost: number;
  depth: number;
  breadth: number;
  /** The maximum of `cost`. */
  limit: number;
}

/**
 * Refuses operations that exceed the limits before anything is read, and adds the cost to the results of queries and
 * mutations. Without introspection neither queries nor error messages reveal the schema.
 */
export function useLimits({ introspection }: { introspection: boolean }): Plugin {
  return {
    onParse: ({ setParseFn }) => {
      setParseFn((source, options) => {
        const text = source instanceof Source ? source : new Source(source);
        measure(text);
        return parse(text, options);
      });
    },
    onValidate: ({ addValidationRule, setValidationFn }) => {
      if (introspection) return;
      addValidationRule(NoSchemaIntrospectionCustomRule);
      setValidationFn((schema, document, rules) => validate(schema, document, rules, { hideSuggestions: true }));
    },
    onExecute: ({ args, setResultAndStopExecution }) => {
      const { error, cost } = assess(args);
      const extensions = cost ? { extensions: { cost } } : {};
      if (error) setResultAndStopExecution({ errors: [error] });
      return {
        onExecuteDone: ({ result, setResult }) => {
          if (!(Symbol.asyncIterator in result)) setResult({ ...result, ...extensions });
        },
      };
    },
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      const { error } = assess(args);
      if (error) setResultAndStopExecution({ errors: [error] });
    },
  };
}

/** Throws a GraphQLError for a document that is too long or too deep to be parsed and validated quickly. */
function measure(source: Source): void {
  const lexer = new Lexer(source);
  let [tokens, depth] = [0, 0];
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    tokens += 1;
    depth += opening.has(token.kind) ? 1 : closing.has(token.kind) ? -1 : 0;
    if (tokens > limits.tokens) throw tooMuch("tokens", tokens);
    if (depth > limits.nesting) throw tooMuch("nesting", depth);
  }
}

const opening: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const closing: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

function tooMuch(limit: Limit, actual: number, max: number = limits[limit]): GraphQLError {
  const message = `The operation is too large: ${actual} ${meanings[limit]}, at most ${max}. Split it into smaller operations.`;
  return new GraphQLError(message, { extensions: { code: "QUERY_TOO_COMPLEX", limit, actual, max } });
}

interface Assessment {
  error: GraphQLError | null;
  cost: Cost | null;
}

function assess({ schema, document, operationName, variableValues, contextValue }: ExecutionArgs): Assessment {
  const operation = getOperationAST(document, operationName);
  if (!operation) return { error: null, cost: null }; // execution reports it
  const { introspection, ...counts } = count(operation, document);
  const nesting = depthOf(variableValues);
  const over = exceeded({ ...counts, nesting });
  if (over) return { error: over, cost: null };
  const own: DocumentNode = {
    kind: Kind.DOCUMENT,
    definitions: [operation, ...document.definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION)],
  };
  try {
    const { depth, breadth, ...fields } = complexityFromQuery(own, {
      schema,
      ctx: contextValue as object,
      ...(variableValues ? { variables: variableValues } : {}),
    });
    const complexity = fields.complexity + introspection;
    const isAnonymous = (contextValue as Pick<Context, "session">).session === null;
    const limit = isAnonymous ? anonymousComplexity : limits.complexity;
    const tooComplex = complexity > limit ? tooMuch("complexity", complexity, limit) : null;
    return {
      error: exceeded({ depth, breadth }) ?? tooComplex,
      cost: { cost: complexity, depth, breadth, limit },
    };
  } catch (error) {
    if (error instanceof GraphQLError) return { error, cost: null }; // variables or arguments that do not fit the schema
    throw error;
  }
}

function exceeded(counts: Partial<Record<Limit, number>>): GraphQLError | null {
  for (const [limit, actual] of Object.entries(counts) as [Limit, number][]) {
    if (actual > limits[limit]) return tooMuch(limit, actual);
  }
  return null;
}

/** `introspection` is the cost of describing the schema. */
type ElementCounts = Record<"aliases" | "directives" | "mutations" | "introspection", number>;
const none: ElementCounts = { aliases: 0, directives: 0, mutations: 0, introspection: 0 };

/** Counts the elements of an operation, with each fragment as often as it is spread; each fragment is traversed once. */
function count(operation: OperationDefinitionNode, document: DocumentNode): ElementCounts {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const each of document.definitions) {
    if (each.kind === Kind.FRAGMENT_DEFINITION) fragments.set(each.name.value, each);
  }
  const known = new Map<SelectionSetNode, ElementCounts>();
  const within = (set: SelectionSetNode | undefined): ElementCounts => {
    if (!set) return none;
    const found = known.get(set);
    if (found) return found;
    const sum: ElementCounts = { ...none };
    for (const selection of set.selections) {
      const spread = selection.kind === Kind.FRAGMENT_SPREAD;
      const inner = within(spread ? fragments.get(selection.name.value)?.selectionSet : selection.selectionSet);
      const field = selection.kind === Kind.FIELD;
      sum.introspection += inner.introspection + introspectionCost(selection);
      sum.aliases += inner.aliases + (field && selection.alias ? 1 : 0);
      sum.directives += inner.directives + (selection.directives?.length ?? 0);
      sum.mutations += field ? 1 : inner.mutations; // of the topmost fields only
    }
    known.set(set, sum);
    return sum;
  };
  const { mutations, ...others } = within(operation.selectionSet);
  return { ...others, mutations: operation.operation === "mutation" ? mutations : 0 };
}

function introspectionCost(selection: SelectionNode): number {
  return selection.kind === Kind.FIELD ? (introspectionCosts[selection.name.value] ?? 0) : 0;
}

/** Returns the nesting depth of a value, without recursion and no further than the limit. */
function depthOf(value: unknown): number {
  let level: unknown[] = [value];
  for (let depth = 0; ; depth += 1) {
    const inner = level
      .filter((each) => typeof each === "object" && each !== null)
      .flatMap((each) => Object.values(each as object));
    if (inner.length === 0 || depth > limits.nesting) return depth;
    level = inner;
  }
}

/** The part of the schema's description that says what operations cost. */
export const costRule = `An operation costs the number of fields that its response can have, which \`extensions.cost\` states; above ${limits.complexity.toLocaleString("en")} it is refused before it runs. A page costs 1 plus the cost of its fields times \`first\` or \`last\` (50 by default), and 5 for each value in its \`where\`. Fields that cost otherwise say so.`;

/**
 * Appends its cost to the description of each field whose cost does not follow from the general rule. Call it on the finished schema.
 */
export function describeCosts(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      const cost = costOf(field);
      if (cost) field.description = `${field.description ?? ""} Costs ${cost}.`.trimStart();
    }
  }
  return schema;
}

function costOf({ args, extensions }: GraphQLField<unknown, unknown>): string | null {
  const { complexity } = extensions as { complexity?: unknown };
  if (typeof complexity === "number") return complexity === 1 ? null : String(complexity);
  if (typeof complexity !== "function") return null;
  const names = new Set(args.map(({ name }) => name));
  if (names.has("first") || names.has("where")) return null;
  if (names.has("ids")) return "1 plus the cost of the selected fields for each id";
  return "1 plus the cost of the selected fields, depending on its arguments";
}
