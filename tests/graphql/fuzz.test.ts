import { afterAll, beforeAll, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createLog } from "../../src/log.ts";
import { type Api, createApi, type Result } from "../support/api.ts";
import { withoutFeed } from "../support/database.ts";
import { createWorld, type World } from "../support/world.ts";
import { createDocuments, type Generated } from "./fuzz/documents.ts";
import { marker, seedBoth } from "./fuzz/seed.ts";

const seed = Number(process.env["FUZZ_SEED"] ?? 3);
const documents = 2000;

let world: World;
let api: Api;
let session: Session;
const logged: string[] = [];

beforeAll(async () => {
  world = await createWorld();
  session = await seedBoth(world.services);
  const log = createLog({ level: "silent", format: "json" });
  const error = ((details: { err?: unknown }) => logged.push(String(details.err))) as typeof log.error;
  api = await createApi({ ...world.services, log: Object.assign(log, { error }) });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Matches internal details of the server. */
const inside =
  /Failed query|drizzle|\bselect\b.+\bfrom\b|insert into|\bat \S+ \(|node_modules|\.ts:\d+|\.js:\d+|PostgresError|TypeError|RangeError|undefined \(reading/i;

async function run({ kind, query, variables }: Generated) {
  world.services.statements.length = 0;
  const accept = kind === "subscription" ? "text/event-stream" : "application/json";
  const response = await api.send(session, JSON.stringify({ query, variables }), { accept });
  if (kind === "subscription" && response.headers.get("content-type")?.startsWith("text/event-stream")) {
    const reader = response.body?.getReader();
    const first = await reader?.read();
    await reader?.cancel();
    return { status: response.status, body: Buffer.from(first?.value ?? []).toString(), result: null };
  }
  const body = await response.text();
  return { status: response.status, body, result: JSON.parse(body) as Result };
}

/** Returns the fault of a response; null when there is none. */
function faultOf({ status, body, result }: Awaited<ReturnType<typeof run>>): string | null {
  if (status >= 500) return `status ${status}`;
  const shown = body.replaceAll(/"requestId":"[^"]*"/g, "");
  if (shown.includes(marker)) return "shows hidden data";
  const errors = result?.errors ?? [];
  const codes = errors.map(({ extensions }) => extensions["code"]);
  if (codes.includes("INTERNAL_SERVER_ERROR")) return `failed unexpectedly: ${logged.at(-1)}`;
  if (errors.some(({ extensions }) => typeof extensions["requestId"] !== "string"))
    return "has an error without the request's id";
  if (errors.some(({ message }) => inside.test(message))) return "shows internal details";
  const refused = codes.includes("QUERY_TOO_COMPLEX");
  const statements = withoutFeed(world.services.statements).filter((text) => !text.includes("attune.audit_event"));
  if (refused && (result?.data !== undefined || statements.length > 0)) return `was refused, but ran: ${statements[0]}`;
  return null;
}

test(`${documents} documents of seed ${seed} cause no failure, show no hidden data, and run no SQL when refused`, async () => {
  const next = createDocuments(schema, seed);
  const findings: string[] = [];
  const seen = { refused: 0, executed: 0, wrong: 0, mutations: 0, subscriptions: 0, open: 0 };
  const fields = new Set<string>();
  for (let count = 0; count < documents; count += 1) {
    const document = next();
    const outcome = await run(document);
    const finding = faultOf(outcome);
    if (finding)
      findings.push(
        `${finding}\n  ${document.query}\n  ${JSON.stringify(document.variables)}\n  ${outcome.body.slice(0, 600)}`,
      );
    const codes = (outcome.result?.errors ?? []).map(({ extensions }) => extensions["code"]);
    if (codes.includes("QUERY_TOO_COMPLEX")) seen.refused += 1;
    else if (outcome.result?.data) seen.executed += 1;
    else if (codes.length > 0) seen.wrong += 1;
    if (document.kind === "mutation") seen.mutations += 1;
    if (document.kind === "subscription") seen.subscriptions += 1;
    if (outcome.body.includes("open.item1")) seen.open += 1;
    for (const name of Object.keys(outcome.result?.data ?? {})) fields.add(name);
  }
  expect(findings.slice(0, 5).join("\n\n")).toBe("");
  expect(findings).toHaveLength(0);
  // The generator must cover every kind: the checks above would also pass if all documents were broken.
  expect(seen.executed).toBeGreaterThan(documents / 3);
  for (const count of [seen.refused, seen.wrong, seen.subscriptions, seen.open]) expect(count).toBeGreaterThan(20);
  expect(seen.mutations).toBeGreaterThan(300);
  expect(fields.size).toBeGreaterThan(60);
}, 120_000);
