import type { GraphQLFieldResolver, GraphQLSchema } from "graphql";
import { recordAudit } from "../../access/audit.ts";
import type { Keyring } from "../../access/keyring.ts";
import { claimOnce, type OnceRequest, onceSecret, settleOnce } from "../../access/once.ts";
import { type RequestScope, write } from "../../db/engine.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import type { Context } from "./context.ts";
import { withoutGivenSecrets } from "./given-secrets.ts";

type Input = Readonly<Record<string, unknown>>;
type Resolver = GraphQLFieldResolver<unknown, Context, { input?: Input }>;

/**
 * Wraps every mutation: it gets none of the secrets that the execution that asks was given, what it did stands in the audit trail,
 * and an idempotency key makes it happen once.
 */
export function scopeMutations(schema: GraphQLSchema): GraphQLSchema {
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
    const { resolve } = field;
    if (resolve) field.resolve = scoped(field.name, resolve) as typeof resolve;
  }
  return schema;
}

function scoped(operation: string, resolve: Resolver): Resolver {
  return async (root, args, ctx, info) => {
    // The nameless cannot fill the trail; who signs in is recorded there.
    if (!ctx.session) return await resolve(root, args, ctx, info);
    const { engine } = ctx;
    const { input, shown } = await withoutGivenSecrets(operation, args.input ?? {}, ctx);
    const entry = describe(operation, shown, ctx);
    let recorded = false;
    const once = onceOf(operation, input, engine.keyring);
    const request: RequestScope = {
      begin: async (tx) => {
        engineOf(ctx).request = null; // the first transaction only
        return once && ctx.session ? await claimOnce(tx, ctx.session, once) : null;
      },
      end: async (tx, result) => {
        const id = idOf(result);
        if (once && ctx.session && id !== null) {
          await settleOnce(tx, ctx.session, once, { type: entry.resourceType, id });
        }
        await recordAudit(tx.db, { ...entry, outcome: "success" });
        recorded = true;
      },
    };
    ctx.engine = { ...engine, request };
    let result: unknown;
    try {
      result = await resolve(root, args.input ? { ...args, input } : args, ctx, info);
    } catch (error) {
      ctx.engine = engine;
      await write(engine, (tx) => recordAudit(tx.db, { ...entry, ...failure(error) }));
      throw error;
    }
    ctx.engine = engine;
    // A refusal comes back as a value: the errors plugin has caught it. What wrote nothing is told of afterwards.
    if (isError(result)) await write(engine, (tx) => recordAudit(tx.db, { ...entry, ...failure(result) }));
    else if (!recorded) await write(engine, (tx) => recordAudit(tx.db, { ...entry, outcome: "success" }));
    return result;
  };
}

/** Whether it is an error, also one that the errors plugin has wrapped: only its constructor shows through then. */
function isError(value: unknown): boolean {
  const made = typeof value === "object" && value !== null ? value.constructor : undefined;
  return made?.prototype instanceof Error;
}

const engineOf = (ctx: Context) => ctx.engine as { request?: RequestScope | null };

function failure(error: unknown): {
  category: "mutation" | "denial";
  outcome: "failure" | "denied";
  details: JsonObject;
} {
  const { code = "INTERNAL_SERVER_ERROR" } = isError(error) ? (error as { code?: string }) : {};
  const denied = code === "FORBIDDEN" || code === "UNAUTHENTICATED";
  return { category: denied ? "denial" : "mutation", outcome: denied ? "denied" : "failure", details: { code } };
}

function describe(operation: string, input: Input, { session, ip, requestId }: Context) {
  const named = ["ref", "id", "login", "action", "trigger", "name"].map((key) => input[key]);
  const ref = named.find((value) => typeof value === "string");
  return {
    category: "mutation" as const,
    eventType: operation,
    session,
    ip,
    requestId,
    resourceType: snakeCase(operation.replace(/^[a-z]+/, "")) || operation,
    resourceRef: typeof ref === "string" ? ref.slice(0, 500) : null,
    details: auditDetails(input),
  };
}

const snakeCase = (text: string) => text.replaceAll(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();

/** The names under which inputs carry what must never be written down, and free data that may hold the same. */
const secretNames =
  /password|secret|token|credential|^value$|^parameters$|^payload$|response$|params$|^config$|^url$|^attributes$/i;

/** What the audit trail keeps of a mutation's input: all but what may be secret, unless it is long. */
export function auditDetails(input: Input): JsonObject {
  return shortened(masked(input) as JsonObject);
}

function masked(value: unknown): Json {
  if (Array.isArray(value)) return value.map(masked);
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "bigint") return String(value);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [
        name,
        secretNames.test(name) && inner !== null ? "[left out]" : masked(inner),
      ]),
    );
  }
  return (value ?? null) as Json; // GraphQL inputs hold nothing else
}

const longestDetails = 4096;

function shortened(details: JsonObject): JsonObject {
  const text = JSON.stringify(details);
  return text.length <= longestDetails ? details : { leftOut: `${text.length} characters` };
}

function onceOf(operation: string, { idempotencyKey, ...input }: Input, keyring: Keyring): OnceRequest | null {
  if (typeof idempotencyKey !== "string") return null;
  return { key: idempotencyKey, operation, input: plain(input), secret: keyring.derive(onceSecret) };
}

/** The input in a form whose JSON says all of it. */
function plain(input: unknown): unknown {
  return JSON.parse(
    JSON.stringify(input, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
  );
}

function idOf(result: unknown): bigint | null {
  return typeof result === "object" && result !== null && "id" in result && typeof result.id === "bigint"
    ? result.id
    : null;
}
