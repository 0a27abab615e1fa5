import { builder } from "../kit/builder.ts";
import { byId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

/** An API token, without its value. */
export const ApiToken = builder.drizzleNode("tokens", {
  name: "ApiToken",
  description: "A credential for programs. Its value is shown once, when it is made.",
  id: { column: (token) => token.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    label: t.exposeString("label", { nullable: true, description: "What it is for." }),
    prefix: t.exposeString("prefix", { nullable: true, description: "How its value begins, to tell it by." }),
    permissionSetRefs: t.expose("permissionSetRefs", {
      type: ["String"],
      nullable: true,
      description:
        "The refs of the permission sets that it is narrowed to; null: it does all that its identity may do.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    expiresAt: t.expose("expiresAt", { type: "DateTime", nullable: true, description: "Until when it is good." }),
    lastUsedAt: t.expose("lastUsedAt", {
      type: "DateTime",
      nullable: true,
      description: "When it was last used, to the minute.",
    }),
    revokedAt: t.expose("revokedAt", { type: "DateTime", nullable: true, description: "When it was revoked." }),
    identity: t.relation("identity", { nullable: true, description: "Whose it is." }),
    revokedBy: t.relation("revokedBy", { nullable: true, description: "Who revoked it." }),
  }),
});

/** API tokens, wherever they are listed. */
export const apiTokens = defineList("ApiToken", "tokens", {
  ref: ApiToken,
  where: {
    id: byId("ApiToken", "id", "The token itself."),
    identity: byId("Identity", "identityId", "Whose it is."),
    label: byText("label", "What it is for."),
    prefix: byText("prefix", "How its value begins."),
    created: byTime("created", "When it was made."),
    expiresAt: byTime("expiresAt", "Until when it is good."),
    lastUsedAt: byTime("lastUsedAt", "When it was last used."),
    revokedAt: byTime("revokedAt", "When it was revoked."),
  },
  order: { created: "When it was made." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "tokens",
  name: "ApiToken",
  one: "apiToken",
  many: "apiTokens",
  ref: ApiToken,
  list: apiTokens,
  hasRef: false,
  isForAll: true,
});
