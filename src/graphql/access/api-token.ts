import { builder } from "../kit/builder.ts";
import { byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

/** An API token, without its value. */
export const ApiToken = builder.drizzleNode("tokens", {
  name: "ApiToken",
  description: "A credential for programs. Its value is shown only once, when it is created.",
  id: { column: (token) => token.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    label: t.exposeString("label", { nullable: true, description: "What it is for." }),
    prefix: t.exposeString("prefix", {
      nullable: true,
      description: "The first characters of its value, for recognition.",
    }),
    permissionSetRefs: t.expose("permissionSetRefs", {
      type: ["String"],
      nullable: true,
      description:
        "The refs of the permission sets that it is limited to; null if it can do everything that its identity can do.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    expiresAt: t.expose("expiresAt", { type: "DateTime", nullable: true, description: "When it expires." }),
    lastUsedAt: t.expose("lastUsedAt", {
      type: "DateTime",
      nullable: true,
      description: "When it was last used, to the minute.",
    }),
    revokedAt: t.expose("revokedAt", { type: "DateTime", nullable: true, description: "When it was revoked." }),
    identity: t.relation("identity", { nullable: true, description: "The identity that it belongs to." }),
    revokedBy: t.relation("revokedBy", { nullable: true, description: "The identity that revoked it." }),
  }),
});

/** Lists of API tokens: filters, orders and connection. */
export const apiTokens = defineList("ApiToken", "tokens", {
  ref: ApiToken,
  where: {
    id: byOwnId("ApiToken", "The token itself."),
    identity: byId("Identity", "identityId", "The identity that it belongs to."),
    label: byText("label", "What it is for."),
    prefix: byText("prefix", "The first characters of its value."),
    created: byTime("created", "When it was created."),
    expiresAt: byTime("expiresAt", "When it expires."),
    lastUsedAt: byTime("lastUsedAt", "When it was last used."),
    revokedAt: byTime("revokedAt", "When it was revoked."),
  },
  order: { created: "When it was created." },
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
