import { may } from "../../access/grants.ts";
import { executions } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { rules } from "../rule/rule.ts";
import { apiTokens } from "./api-token.ts";
import { assignments } from "./permission-set.ts";

/** A user or machine that can authenticate. */
export const Identity = builder.drizzleNode("identities", {
  name: "Identity",
  description: "A user or machine that can authenticate.",
  id: { column: (identity) => identity.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    login: t.exposeString("login", { description: "The name that it signs in with." }),
    displayName: t.exposeString("displayName", { nullable: true, description: "Its display name." }),
    frozen: t.exposeBoolean("frozen", { description: "Whether its credentials are disabled." }),
    attributes: t.field({
      type: "JSONObject",
      nullable: true,
      description: "Any further data about it; null if you may not update it.",
      select: { columns: { id: true, login: true, attributes: true } },
      resolve: ({ id, login, attributes }, _args, { session }) =>
        session && may(session, "identity", "update", { ref: login, ownerId: id }) ? attributes : null,
    }),
    roles: t.stringList({
      description: "Its roles.",
      select: { with: { roles: { columns: { role: true }, orderBy: { role: "asc" } } } },
      resolve: ({ roles }) => roles.map(({ role }) => role),
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    assignments: t.relatedConnection(
      "assignments",
      assignments.related("The permission sets that are assigned to it directly; its roles add more."),
      assignments.connection,
    ),
    apiTokens: t.relatedConnection("tokens", apiTokens.related("Its API tokens."), apiTokens.connection),
    rules: t.relatedConnection(
      "rules",
      rules.related("The rules that it owns, which run with its grants."),
      rules.connection,
    ),
    executions: t.relatedConnection(
      "executions",
      executions.related("The executions that it requested."),
      executions.connection,
    ),
  }),
});

const identities = defineList("Identity", "identities", {
  ref: Identity,
  where: {
    id: byOwnId("Identity", "The identity itself."),
    login: byText("login", "The name that it signs in with."),
    displayName: byText("displayName", "Its display name."),
    frozen: byFlag("frozen", "Whether its credentials are disabled."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { login: "Its login.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["login", "asc"],
});

addRootFields({
  table: "identities",
  name: "Identity",
  one: "identity",
  many: "identities",
  ref: Identity,
  list: identities,
  hasRef: false,
  isForAll: true,
});

builder.queryField("identityByLogin", (t) =>
  t.drizzleField({
    type: Identity,
    nullable: true,
    authScopes: { signedIn: true },
    description: "The `Identity` with this login; null if there is none.",
    args: { login: t.arg.string({ required: true, description: "The login of the `Identity`." }) },
    resolve: (query, _root, { login }, ctx) => ctx.db.query.identities.findFirst(query({ where: { login } })),
  }),
);
