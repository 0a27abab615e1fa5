import { sql } from "drizzle-orm";
import type { Choice, Columns } from "../../access/resource.ts";
import { identityOf, type Session } from "../../access/session.ts";
import type { Json } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { pageCost } from "../kit/list.ts";
import { ApiToken, apiTokens } from "./api-token.ts";
import { Identity } from "./identity.ts";

/** The caller. */
export const Viewer = builder.objectRef<Session>("Viewer").implement({
  description: "The caller.",
  fields: (t) => ({
    identity: t.drizzleField({
      type: Identity,
      nullable: true,
      description: "Your identity.",
      resolve: (query, { identityId }, _args, ctx) =>
        identityId === null ? null : ctx.db.query.identities.findFirst(query({ where: { id: identityId } })),
    }),
    permissions: t.field({
      type: ["JSON"],
      description: "The grants of the credential of this request, in the form that permission sets use.",
      resolve: ({ grants }) => JSON.parse(JSON.stringify(grants)) as Json[], // grants are JSON
    }),
    roles: t.stringList({ description: "Your roles.", resolve: ({ roles }) => [...roles] }),
    apiTokens: t.drizzleConnection(
      {
        type: ApiToken,
        description: "Your API tokens.",
        args: apiTokens.args,
        complexity: pageCost,
        totalCount: (viewer, args, ctx) => apiTokens.count(args, ctx, ownTokens(viewer)),
        resolve: (query, viewer, args, ctx) =>
          ctx.db.query.tokens.findMany(query(apiTokens.page(args, ctx, ownTokens(viewer)))),
      },
      apiTokens.connection,
    ),
  }),
});

builder.queryField("cursor", (t) =>
  t.field({
    type: "Cursor",
    nullable: true,
    authScopes: { signedIn: true },
    description:
      "The present position in the streams of changes. What one document reads beside it contains every change up to this position, and a subscription with it as `after` sends every later one.",
    resolve: (_root, _args, ctx) => ctx.position,
  }),
);

builder.queryField("viewer", (t) =>
  t.withAuth({ signedIn: true }).field({
    type: Viewer,
    nullable: true,
    description: "The caller.",
    resolve: (_root, _args, ctx) => ctx.session,
  }),
);

function ownTokens(viewer: Session): Choice[] {
  const own = ({ identityId }: Columns) => sql`${identityId} = ${identityOf(viewer)}::bigint`;
  return [{ all: own, each: [own] }];
}
