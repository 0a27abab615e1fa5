import { recordAudit } from "../../access/audit.ts";
import { claimOnce, type OnceRequest, onceSecret, settleOnce } from "../../access/once.ts";
import type { Session } from "../../access/session.ts";
import { type Tx, write } from "../../db/tx.ts";
import { Refusal } from "../../errors.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import type { Keyring } from "../../secrecy/keyring.ts";
import type { Context } from "./context.ts";
import { withoutGivenSecrets } from "./given-secrets.ts";

type Input = Readonly<Record<string, unknown>>;

/** The request that calls a mutation. */
type Request = Pick<Context, "services" | "ip" | "requestId">;

/** A call of a mutation. */
export interface Call {
  operation: string;
  input: Input;
  /** The input fields that accept secrets and store them encrypted. */
  secretFields: readonly string[];
}

/** The mutations that are allowed when the disk has no room for new work: those that free space, and the way to them. */
const allowedWithoutRoom =
  /^(?:delete|cancel|disable|revoke|remove|unassign)(?=[A-Z])|^(?:signIn|signOut|revealKey|purge)$/;

/** Runs verbs in one transaction, together with the call's audit entry and idempotency key. */
export type Commit<R> = (run: (tx: Tx) => Promise<R>) => Promise<R>;

/**
 * Performs a mutation for the session. `work` gets the input without the secrets of the calling execution, and a function that
 * commits its changes. Each call adds one entry to the audit trail: in the call's own transaction if that commits, otherwise
 * afterwards. Throws the errors of `work`, and NoRoomError.
 */
export async function performMutation<R>(
  ctx: Request,
  session: Session,
  call: Call,
  work: (input: Input, commit: Commit<R>) => Promise<R>,
): Promise<R> {
  const { services } = ctx;
  if (!allowedWithoutRoom.test(call.operation)) services.room.require();
  const { input, shown } = await withoutGivenSecrets(services, session, call);
  const entry = describe(call.operation, shown, { ...ctx, session });
  const once = onceOf(call.operation, input, services.keyring);
  let recorded = false;
  const commit: Commit<R> = async (run) => {
    const result = await write(services, async (tx) => {
      // A verb that creates an object returns its id, as does a repeated call.
      const result = ((once && (await claimOnce(tx, session, once))) as R | null) ?? (await run(tx));
      const id = idOf(result);
      if (once && id !== null) await settleOnce(tx, session, once, { type: entry.resourceType, id });
      await recordAudit(tx.db, { ...entry, outcome: "success" });
      return result;
    });
    recorded = true;
    return result;
  };
  try {
    const result = await work(input, commit);
    if (!recorded) await write(services, (tx) => recordAudit(tx.db, { ...entry, outcome: "success" }));
    return result;
  } catch (error) {
    await write(services, (tx) => recordAudit(tx.db, { ...entry, ...failure(error) }));
    throw error;
  }
}

function failure(error: unknown): {
  category: "mutation" | "denial";
  outcome: "failure" | "denied";
  details: JsonObject;
} {
  const code = error instanceof Refusal ? error.code : "INTERNAL_SERVER_ERROR";
  const denied = code === "FORBIDDEN" || code === "UNAUTHENTICATED";
  return { category: denied ? "denial" : "mutation", outcome: denied ? "denied" : "failure", details: { code } };
}

function describe(operation: string, input: Input, { session, ip, requestId }: Request & { session: Session }) {
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

/** The names of input fields that contain secrets or free data, which must not be recorded. */
const secretNames =
  /password|secret|token|credential|^value$|^parameters$|^payload$|response$|params$|^config$|^url$|^attributes$/i;

/** Returns the details of a mutation's input for the audit trail: without possible secrets, and omitted if too long. */
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
  return (value ?? null) as Json; // GraphQL inputs contain nothing else
}

const maxDetailsLength = 4096;

function shortened(details: JsonObject): JsonObject {
  const text = JSON.stringify(details);
  return text.length <= maxDetailsLength ? details : { leftOut: `${text.length} characters` };
}

function onceOf(operation: string, { idempotencyKey, ...input }: Input, keyring: Keyring): OnceRequest | null {
  if (typeof idempotencyKey !== "string") return null;
  return { key: idempotencyKey, operation, input: plain(input), secret: keyring.derive(onceSecret) };
}

/** Returns the input as JSON, with bigints as strings. */
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
