import type { Session } from "../access/session.ts";
import { builder } from "./builder.ts";

const Identity = builder.drizzleNode("identities", {
  name: "Identity",
  description: "A person or a machine that may sign in.",
  id: { column: (identity) => identity.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    login: t.exposeString("login", { description: "The name that it signs in with." }),
    displayName: t.exposeString("displayName", { nullable: true, description: "Its name for people." }),
  }),
});

const Viewer = builder.objectRef<Session>("Viewer").implement({
  description: "Whoever asks.",
  fields: (t) => ({
    identity: t.drizzleField({
      type: Identity,
      nullable: true,
      description: "Who you are.",
      resolve: (query, { identityId }, _args, ctx) =>
        identityId === null ? null : ctx.db.query.identities.findFirst(query({ where: { id: identityId } })),
    }),
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
