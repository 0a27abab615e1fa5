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

/** The builder of all types of the API. It holds no connection: the context provides one. */
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
  // ErrorsPlugin precedes ScopeAuthPlugin: otherwise a refused authorisation could become a typed result.
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
      // Whether the session holds any such grant; queries and verbs check the rows.
      may: (permission) => {
        const [resource, action] = readPermission(permission);
        return session !== null && may(session, resource, action);
      },
    }),
    unauthorizedError: (_parent, { session }) =>
      session === null
        ? new UnauthenticatedError()
        : new ForbiddenError("You may not do this: it requires a grant that you do not hold."),
  },
  relay: {
    clientMutationId: "omit",
    cursorType: "String",
    idFieldOptions: { description: "The object's globally unique, opaque id. See `node(id:)`." },
    nodeTypeOptions: { description: "An object with a globally unique id, which `node(id:)` returns." },
    // Defined in node.ts, where a missing object is null, not an error.
    nodeQueryOptions: false,
    nodesQueryOptions: false,
    pageInfoTypeOptions: { description: "Information about the pages before and after a page." },
    hasNextPageFieldOptions: { description: "Whether there are objects after `endCursor`." },
    hasPreviousPageFieldOptions: { description: "Whether there are objects before `startCursor`." },
    startCursorFieldOptions: { description: "The cursor of the first edge, for `before`." },
    endCursorFieldOptions: { description: "The cursor of the last edge, for `after`." },
    firstArgOptions: {
      description: "How many objects from the start, at most 100; 50 if neither `first` nor `last` is given.",
    },
    lastArgOptions: { description: "How many objects from the end, at most 100; not together with `first`." },
    afterArgOptions: { description: "Only objects after this cursor." },
    beforeArgOptions: { description: "Only objects before this cursor." },
    edgesFieldOptions: { description: "The objects of the page, each with its cursor.", nullable: false },
    nodesOnConnection: { description: "The objects of the page." },
    nodeFieldOptions: { description: "The object.", nullable: false },
    cursorFieldOptions: { description: "The object's position in the list." },
    pageInfoFieldOptions: { description: "Information about the pages before and after this one." },
    defaultConnectionTypeOptions: { description: "One page of a list." },
    defaultEdgeTypeOptions: { description: "An object and its cursor." },
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

// Closed by default: anonymous callers can select only fields that are public explicitly.
builder.queryType({ description: "All queries.", authScopes: { signedIn: true } });
builder.mutationType({ description: "All mutations.", authScopes: { signedIn: true } });
builder.subscriptionType({ description: "All subscriptions.", authScopes: { signedIn: true } });
