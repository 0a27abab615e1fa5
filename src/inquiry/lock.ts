import { sql } from "drizzle-orm";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { inquiryStatus } from "../db/schema.ts";
import type { Tx } from "../db/tx.ts";
import { NotFoundError } from "../errors.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { mayRead, type Parties } from "./access.ts";

/** An inquiry that this transaction has locked after its execution; every transaction that ends one of them locks in this order. */
export interface LockedInquiry extends Parties {
  id: string;
  execution: string | null;
  status: (typeof inquiryStatus.enumValues)[number];
  /** Whether it has expired; its status may still be pending. */
  overdue: boolean;
  responseSchema: ParameterMap | null;
  /** Whether the session's execution has the same root as the inquiry's execution. */
  sameTree: boolean;
}

interface Row {
  status: LockedInquiry["status"];
  overdue: boolean;
  responseSchema: ParameterMap | null;
  assignedTo: string | null;
  assignedRole: string | null;
  sameTree: boolean;
}

/** Locks the inquiry and its execution. Throws NotFoundError when the session may neither read nor act on it. */
export async function lockInquiry(
  tx: Tx,
  session: Session,
  { id, allowed }: { id: bigint; allowed: (session: Session, parties: Parties) => boolean },
): Promise<LockedInquiry> {
  const [found] = await rows<{ execution: string | null }>(
    tx.db,
    sql`select execution::text from attune.inquiry where id = ${String(id)}::bigint`,
  );
  const execution = found?.execution ?? null;
  if (execution !== null) {
    await tx.db.execute(sql`select from attune.execution where id = ${execution}::bigint for no key update`);
  }
  const own = session.executionId === null ? null : String(session.executionId);
  const [row] = await rows<Row>(
    tx.db,
    sql`select i.status as "status", coalesce(i.timeout_at <= now(), false) as "overdue", i.response_schema as "responseSchema",
        i.assigned_to::text as "assignedTo", i.assigned_role as "assignedRole",
        coalesce((select coalesce(e.root, e.id) from attune.execution e where e.id = i.execution)
          = (select coalesce(s.root, s.id) from attune.execution s where s.id = ${own}::bigint), false) as "sameTree"
      from attune.inquiry i where i.id = ${String(id)}::bigint for no key update`,
  );
  if (!row) throw new NotFoundError("inquiry", String(id));
  const inquiry = {
    ...row,
    id: String(id),
    execution,
    executionId: execution === null ? null : BigInt(execution),
    assignedToId: row.assignedTo === null ? null : BigInt(row.assignedTo),
  };
  if (!allowed(session, inquiry) && !mayRead(session, inquiry)) throw new NotFoundError("inquiry", inquiry.id);
  return inquiry;
}

/** Returns how the inquiry ended, as the message of a refusal; null when it is pending. */
export function endOf({ status, overdue }: LockedInquiry): string | null {
  if (status === "responded") return "The inquiry already has a response.";
  if (status === "cancelled") return "The inquiry was cancelled.";
  return status === "timeout" || overdue ? "The inquiry has expired." : null;
}
