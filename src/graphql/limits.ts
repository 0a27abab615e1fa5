import { complexityFromQuery } from "@pothos/plugin-complexity";
import { type DocumentNode, type ExecutionArgs, GraphQLError, getOperationAST, Kind } from "graphql";
import type { Plugin } from "graphql-yoga";

/** What one operation may cost: objects and fields, levels, fields as written. */
const limits = { complexity: 25_000, depth: 16, breadth: 400 } as const;

const meanings = {
  complexity: "fields of objects, when every page is full",
  depth: "levels",
  breadth: "fields",
} as const;

/** Refuses operations that cost too much, whole and before anything is read. */
export function useLimits(): Plugin {
  return {
    onExecute: ({ args, setResultAndStopExecution }) => {
      const error = refuse(args);
      if (error) setResultAndStopExecution({ errors: [error] });
    },
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      const error = refuse(args);
      if (error) setResultAndStopExecution({ errors: [error] });
    },
  };
}

function refuse(args: ExecutionArgs): GraphQLError | null {
  const { schema, document, operationName, variableValues, contextValue } = args;
  const operation = getOperationAST(document, operationName);
  if (!operation) return null; // execution says so
  const own: DocumentNode = {
    kind: Kind.DOCUMENT,
    definitions: [operation, ...document.definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION)],
  };
  let cost: Record<keyof typeof limits, number>;
  try {
    cost = complexityFromQuery(own, {
      schema,
      ctx: contextValue as object,
      ...(variableValues ? { variables: variableValues } : {}),
    });
  } catch (error) {
    if (error instanceof GraphQLError) return error; // variables or arguments that do not fit the schema
    throw error;
  }
  for (const name of ["depth", "breadth", "complexity"] as const) {
    if (cost[name] > limits[name]) {
      const message = `The operation asks for too much: ${cost[name]} ${meanings[name]}, at most ${limits[name]}. Ask for smaller pages or fewer fields.`;
      return new GraphQLError(message, {
        extensions: { code: "QUERY_TOO_COMPLEX", limit: name, actual: cost[name], max: limits[name] },
      });
    }
  }
  return null;
}
