import type { Command } from "commander";
import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { addGroup, countOption, define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import type { Message } from "../follow.ts";
import type { Filter, Resource, Where } from "../resource.ts";

/** The largest page that the API returns, and the number of rows that a list prints by default. */
const largestPage = 100;
const defaultLimit = 50;

/** Adds `list` and `show`, and `watch` where the API has a subscription. */
export function addResource(above: Group, resource: Resource): void {
  const { name, nouns, examples, byName, watch } = resource;
  const commands = addGroup(above, name, `work with ${nouns[1]}`, "list");
  define<ListOptions>(commands, {
    name: "list",
    description: `list ${nouns[1]}`,
    options: [
      ...optionsOf(resource.filters),
      option("--where <json>", `any other condition, in the form of the API's ${resource.type}Where`),
      countOption("--limit <count>", `at most that many (default: ${defaultLimit})`),
      option("--after <cursor>", "only those after the end of an earlier list"),
      option("--all", "all of them, however many there are"),
    ],
    examples: ["list", ...examples.list.map((rest) => `list ${rest}`)],
    run: (context, _operands, options) => list(context, resource, options),
  });
  define(commands, {
    name: byName ? `show <${byName[1]}>` : "show <id>",
    description: `show one ${nouns[0]}`,
    examples: [`show ${examples.show}`],
    ...(byName ? { names: name } : {}),
    run: async (context, [given = ""]) => {
      await context.printObject(await findOne(context, resource, given, `${resource.fields} ${resource.detail}`));
    },
  });
  if (!watch) return;
  define<WatchOptions>(commands, {
    name: "watch",
    description: `${watch.description}, until Ctrl-C`,
    options: [
      ...optionsOf(resource.filters.filter(({ flags }) => watch.filters.includes(flags))),
      option("--after <cursor>", "begin after this message, whose cursor an earlier one had (with --output json)"),
      countOption("--limit <count>", "end after that many"),
    ],
    examples: [`watch ${watch.example}`.trim()],
    run: (context, _operands, options) => watchAll(context, resource, options),
  });
}

/** Adds `disable` and `enable`. */
export function addSwitches(above: Group, resource: Resource): void {
  const commands = groupOf(above, resource.name);
  const { type, name, nouns, examples } = resource;
  for (const verb of ["disable", "enable"]) {
    define(commands, {
      name: `${verb} <ref>`,
      description: `${verb} ${/^[aeiou]/.test(nouns[0]) ? "an" : "a"} ${nouns[0]}`,
      examples: [`${verb} ${examples.show}`],
      names: name,
      run: async (context, [ref = ""]) => {
        const field = name;
        const result = await mutate<Record<string, object>>(
          context.ask,
          `${verb}${type}`,
          { ref },
          `${field} { ${resource.fields} }`,
        );
        await context.printOne(result[field], resource.columns);
      },
    });
  }
}

interface ListOptions {
  where?: string;
  limit?: number;
  after?: string;
  all?: boolean;
}

interface WatchOptions {
  after?: string;
  limit?: number;
}

interface Connection {
  nodes: Record<string, unknown>[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** Returns the document that lists a resource. */
export const listDocument = ({ list, type, fields }: Resource): string =>
  `query($where: ${type}Where, $first: Int!, $after: String) {
    ${list}(where: $where, first: $first, after: $after) { nodes { ${fields} } pageInfo { hasNextPage endCursor } } }`;

async function list(context: Context, resource: Resource, options: ListOptions): Promise<void> {
  const where = whereOf(context.command, resource.filters, options.where);
  const limit = options.all ? Number.POSITIVE_INFINITY : (options.limit ?? defaultLimit);
  const rows: unknown[] = [];
  let after = options.after ?? null;
  let more = true;
  while (more && rows.length < limit) {
    const first = Math.min(largestPage, limit - rows.length);
    const data = await context.ask<Record<string, Connection>>(listDocument(resource), { where, first, after });
    const page = connectionOf(data, resource);
    rows.push(...page.nodes);
    more = page.pageInfo.hasNextPage;
    after = page.pageInfo.endCursor;
  }
  await context.printRows(rows, resource.columns, `There are no ${resource.nouns[1]} that match.`);
  if (more) context.note(`There are more: --after ${after}, or --all.`);
}

function connectionOf(data: Record<string, Connection | null>, { list, nouns }: Resource): Connection {
  const connection = data[list];
  if (!connection) throw new Failure(`You may not list ${nouns[1]}.`);
  return connection;
}

/** Returns the document that finds one object of a resource. */
export const showDocument = ({ type, byName }: Resource, selection: string): string => {
  const [field, argument] = byName ?? [type.charAt(0).toLowerCase() + type.slice(1), "id"];
  return `query($given: ${argument === "id" ? "ID" : "String"}!) { ${field}(${argument}: $given) { ${selection} } }`;
};

/** Returns the object with that ref, login or id. Throws Failure when there is none. */
export async function findOne<T extends object>(
  context: Context,
  resource: Resource,
  given: string,
  selection: string,
): Promise<T> {
  const byId = isId(given, resource.type);
  const document = showDocument(byId ? withoutName(resource) : resource, selection);
  const [object] = Object.values(await context.ask<Record<string, T | null>>(document, { given }));
  if (object) return object;
  throw new Failure(`There is no ${resource.nouns[0]} "${given}", or you may not read it.`, { code: "NOT_FOUND" });
}

function withoutName({ byName: _byName, ...resource }: Resource): Resource {
  return resource;
}

/** Whether the text is an id of the API, rather than a ref or a login. */
const isId = (text: string, type: string): boolean =>
  /^[A-Za-z0-9+/]+={0,2}$/.test(text) && Buffer.from(text, "base64").toString("latin1").startsWith(`${type}:`);

/** Returns the document that watches a resource. */
export function watchDocument({ watch }: Resource): string {
  if (!watch) throw new Error("the resource has no subscription");
  const type = watch.subscription.charAt(0).toUpperCase() + watch.subscription.slice(1);
  return `subscription($where: ${type}Where, $after: Cursor) {
    ${watch.subscription}(where: $where, after: $after) { cursor ${watch.fields} } }`;
}

async function watchAll(context: Context, resource: Resource, options: WatchOptions): Promise<void> {
  const where = whereOf(context.command, resource.filters);
  const after = options.after ?? (await currentCursor(context));
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  const messages = context.follow<Message>({ document: watchDocument(resource), variables: { where }, after });
  for await (const message of messages) {
    await context.printNext(message, resource.watch?.columns ?? []);
    left -= 1;
    if (left === 0) return;
  }
}

/** Returns the position of now in the changes, from which on a subscription misses none. */
export const currentCursor = async (context: Context): Promise<string | null> =>
  (await context.ask<{ cursor: string | null }>("{ cursor }")).cursor;

const optionsOf = (filters: readonly Filter[]) =>
  filters.map(({ flags, description, choices, names }) => {
    const made = option(flags, description, names);
    return choices ? made.choices([...choices]) : made;
  });

/** Returns the conditions that the command's options set; null if there are none. */
function whereOf(command: Command, filters: readonly Filter[], raw?: string): object | null {
  const conditions: Where = {};
  for (const { flags, where } of filters) {
    const found = command.options.find((one) => one.flags === flags);
    const value: unknown = found && command.getOptionValue(found.attributeName());
    if (typeof value !== "string") continue;
    for (const [field, condition] of Object.entries(where(value))) {
      conditions[field] = { ...conditions[field], ...condition };
    }
  }
  if (raw !== undefined) return { and: [conditions, parseWhere(raw)] };
  return Object.keys(conditions).length > 0 ? conditions : null;
}

function parseWhere(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {} // below
  throw new UsageFailure(`--where takes an object of JSON, such as '{"ref": {"startsWith": "core."}}'.`);
}
