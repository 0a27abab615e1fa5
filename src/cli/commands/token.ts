import { mutate } from "../client.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { UsageFailure } from "../failure.ts";
import { byTime, durationOf, equal, type Resource } from "../resource.ts";
import { addResource } from "./resource.ts";

const tokens: Resource = {
  name: "token",
  nouns: ["API token", "API tokens"],
  type: "ApiToken",
  list: "apiTokens",
  fields: "id label prefix identity { login } permissionSetRefs created lastUsedAt expiresAt revokedAt",
  columns: [
    ["ID", "id"],
    ["LABEL", "label"],
    ["PREFIX", "prefix"],
    ["IDENTITY", "identity.login"],
    ["EXPIRES", "expiresAt"],
    ["REVOKED", "revokedAt"],
  ],
  detail: "revokedBy { login }",
  filters: [equal("--label <label>", "with this label", "label"), ...byTime],
  examples: { list: ["--label deployment"], show: "QXBpVG9rZW46MQ==" },
};

/** Adds `auth token` with its commands. */
export function addTokens(above: Group): void {
  addResource(above, tokens);
  const commands = groupOf(above, "token");
  define<CreateOptions>(commands, {
    name: "create <label>",
    description: "create an API token, and print its value, which is not shown again",
    options: [
      option("--identity <login>", "for this identity rather than yourself", "identity"),
      option("--permission <refs>", "limited to these permission sets, separated by commas", "permission"),
      option("--expires <duration>", "valid for this long, such as 12h or 90d; for ever by default"),
    ],
    examples: ["create deployment --expires 90d", "create reader --permission core.viewer"],
    run: async (context, [label = ""], { identity, permission, expires }) => {
      const input = {
        label,
        ...(identity === undefined ? {} : { login: identity }),
        ...(permission === undefined ? {} : { permissionSetRefs: permission.split(",") }),
        ...(expires === undefined ? {} : { expiresAt: timeIn(expires) }),
      };
      const created = await mutate<{ value: string; apiToken: object }>(
        context.ask,
        "createApiToken",
        input,
        `value apiToken { ${tokens.fields} }`,
      );
      if (context.options.output === "table") return await context.write(`${created.value}\n`);
      await context.printValue({ value: created.value, ...created.apiToken });
    },
  });
  define(commands, {
    name: "revoke <id>",
    description: "revoke an API token",
    examples: [`revoke ${tokens.examples.show}`],
    run: async (context, [id = ""]) => {
      const { apiToken } = await mutate<{ apiToken: object }>(
        context.ask,
        "revokeApiToken",
        { id },
        `apiToken { ${tokens.fields} }`,
      );
      await context.printOne(apiToken, tokens.columns);
    },
  });
}

interface CreateOptions {
  identity?: string;
  permission?: string;
  expires?: string;
}

function timeIn(text: string): string {
  const ms = durationOf(text);
  if (ms === null) throw new UsageFailure(`"${text}" is no duration such as 12h or 90d.`);
  return new Date(Date.now() + ms).toISOString();
}
