import SchemaBuilder from "@pothos/core";
import ComplexityPlugin from "@pothos/plugin-complexity";
import DrizzlePlugin from "@pothos/plugin-drizzle";
import ErrorsPlugin from "@pothos/plugin-errors";
import RelayPlugin from "@pothos/plugin-relay";
import ScopeAuthPlugin from "@pothos/plugin-scope-auth";
import { getTableConfig } from "drizzle-orm/pg-core";
import { may, type Permission, readPermission } from "../../access/grants.ts";
import type { Session } from "../../access/session.ts";
import { relations } from "../../db/relations.ts";
import { ForbiddenError, UnauthenticatedError } from "../../errors.ts";
import type { Context } from "./context.ts";
import { type Scalars, scalarOptions } from "./scalars.ts";
import { boundedCounts } from "./totals.ts";

export const defaultPageSize = 50;
export const maxPageSize = 100;

const upperFirst = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** Every type of the API is made with this builder; it holds no connection, the context brings one. */
export const builder = new SchemaBuilder<{
  Context: Context;
  DrizzleRelations: typeof relations;
  DefaultFieldNullability: false;
  DefaultEdgesNullability: false;
  DefaultNodeNullability: false;
  DefaultAuthStrategy: "all";
  AuthScopes: { signedIn: boolean; may: Permission };
  AuthContexts: { signedIn: Context & { session: Session }; may: Context & { session: Session } };
  Scalars: Scalars;
}>({
  // Errors before authorisation: a refusal by the latter could become a typed result.
  plugins: [ComplexityPlugin, ErrorsPlugin, ScopeAuthPlugin, RelayPlugin, DrizzlePlugin],
  defaultFieldNullability: false,
  complexity: { defaultComplexity: 1, defaultListMultiplier: 1 },
  errors: {
    defaultTypes: [],
    defaultUnionOptions: { name: ({ fieldName }) => `${upperFirst(fieldName)}Result` },
    defaultResultOptions: { name: ({ fieldName }) => `${upperFirst(fieldName)}Payload` },
  },
  scopeAuth: {
    defaultStrategy: "all",
    authorizeOnSubscribe: true,
    authScopes: ({ session }) => ({
      signedIn: session !== null,
      // Whether to anything at all: which rows and targets, the queries and the verbs decide.
      may: (permission) => {
        const [resource, action] = readPermission(permission);
        return session !== null && may(session, resource, action);
      },
    }),
    unauthorizedError: (_parent, { session }) =>
      session === null
        ? new UnauthenticatedError()
        : new ForbiddenError("You may not do this: it takes a grant that you do not hold."),
  },
  relay: {
    clientMutationId: "omit",
    cursorType: "String",
    idFieldOptions: { description: "Identifies the object in the whole API; opaque. See `node(id:)`." },
    nodeTypeOptions: { description: "Anything with an id of its own, that `node(id:)` finds again." },
    // Made in node.ts: a missing object is null there, not an error.
    nodeQueryOptions: false,
    nodesQueryOptions: false,
    pageInfoTypeOptions: { description: "Whether and where a connection goes on." },
    hasNextPageFieldOptions: { description: "Whether there is more behind `endCursor`." },
    hasPreviousPageFieldOptions: { description: "Whether there is more before `startCursor`." },
    startCursorFieldOptions: { description: "The first edge's cursor; give it as `before`." },
    endCursorFieldOptions: { description: "The last edge's cursor; give it as `after`." },
    firstArgOptions: {
      description: "How many from the beginning, at most 100; 50 when neither `first` nor `last` is given.",
    },
    lastArgOptions: { description: "How many from the end, at most 100; not together with `first`." },
    afterArgOptions: { description: "Only what comes after this cursor." },
    beforeArgOptions: { description: "Only what comes before this cursor." },
    edgesFieldOptions: { description: "The page's objects, each with its cursor.", nullable: false },
    nodesOnConnection: { description: "The page's objects." },
    nodeFieldOptions: { description: "The object.", nullable: false },
    cursorFieldOptions: { description: "Where the object stands in the connection." },
    pageInfoFieldOptions: { description: "Whether and where the connection goes on." },
    defaultConnectionTypeOptions: { description: "One page of a list." },
    defaultEdgeTypeOptions: { description: "An object's place in the list." },
  },
  drizzle: {
    client: (ctx) => boundedCounts(ctx.db),
    relations,
    getTableConfig,
    defaultConnectionSize: defaultPageSize,
    maxConnectionSize: maxPageSize,
  },
});

builder.scalarType("DateTime", scalarOptions.DateTime);
builder.scalarType("JSON", scalarOptions.JSON);
builder.scalarType("JSONObject", scalarOptions.JSONObject);
builder.scalarType("BigInt", scalarOptions.BigInt);
builder.scalarType("Cursor", scalarOptions.Cursor);

// Closed by default: whatever is not public says nothing to the nameless.
builder.queryType({ description: "What can be read.", authScopes: { signedIn: true } });
builder.mutationType({ description: "What can be changed.", authScopes: { signedIn: true } });
builder.subscriptionType({ description: "What can be followed live.", authScopes: { signedIn: true } });
