import { and, sql } from "drizzle-orm";
import type { Columns } from "../../access/resource.ts";
import { identityOf, type Session } from "../../access/session.ts";
import { tables } from "../../db/tables.ts";
import type { Json } from "../../lib/json.ts";
import { builder } from "../kit/builder.ts";
import { pageCost } from "../kit/list.ts";
import { ApiToken, apiTokens } from "./api-token.ts";
import { Identity } from "./identity.ts";

/** Whoever asks. */
export const Viewer = builder.objectRef<Session>("Viewer").implement({
  description: "Whoever asks.",
  fields: (t) => ({
    identity: t.drizzleField({
      type: Identity,
      nullable: true,
      description: "Who you are.",
      resolve: (query, { identityId }, _args, ctx) =>
        identityId === null ? null : ctx.db.query.identities.findFirst(query({ where: { id: identityId } })),
    }),
    permissions: t.field({
      type: ["JSON"],
      description: "What you may do by the credential that you ask with: grants, as permission sets hold them.",
      resolve: ({ grants }) => JSON.parse(JSON.stringify(grants)) as Json[], // they are of JSON
    }),
    roles: t.stringList({ description: "Your roles.", resolve: ({ roles }) => [...roles] }),
    apiTokens: t.drizzleConnection(
      {
        type: ApiToken,
        description: "Your API tokens.",
        args: apiTokens.args,
        complexity: pageCost,
        totalCount: (viewer, args, ctx) =>
          ctx.db.$count(tables.tokens, ownTokens(viewer, apiTokens.query(args, ctx)).where.RAW(tables.tokens)),
        resolve: (query, viewer, args, ctx) =>
          ctx.db.query.tokens.findMany(query(ownTokens(viewer, apiTokens.query(args, ctx)))),
      },
      apiTokens.connection,
    ),
  }),
});

builder.queryField("viewer", (t) =>
  t.withAuth({ signedIn: true }).field({
    type: Viewer,
    nullable: true,
    description: "You.",
    resolve: (_root, _args, ctx) => ctx.session,
  }),
);

function ownTokens(viewer: Session, query: ReturnType<typeof apiTokens.query>) {
  const where = (table: unknown) => {
    const { identityId } = table as Columns; // as in `defineList`
    return and(query.where.RAW(table), sql`${identityId} = ${identityOf(viewer)}::bigint`) ?? sql`false`;
  };
  return { ...query, where: { RAW: where } };
}
