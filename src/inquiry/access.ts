import { may } from "../access/grants.ts";
import type { Session } from "../access/session.ts";

/** The execution and the assignees of an inquiry. */
export interface Parties {
  executionId: bigint | null;
  assignedToId: bigint | null;
  assignedRole: string | null;
}

/** Returns whether the session is of the execution that created the inquiry. */
export function isAskingExecution({ executionId }: Session, parties: Parties): boolean {
  return executionId !== null && executionId === parties.executionId;
}

/** Returns whether the inquiry is assigned to the session's user. Executions are never assignees, even with that user's identity. */
function isAssignee({ kind, identityId, roles }: Session, { assignedToId, assignedRole }: Parties): boolean {
  if (kind !== "session" && kind !== "api") return false;
  return (
    (identityId !== null && identityId === assignedToId) || (assignedRole !== null && roles.includes(assignedRole))
  );
}

/** Returns whether the session may respond: assignees and holders of the grant may, the execution that created the inquiry never. */
export function mayRespond(session: Session, parties: Parties): boolean {
  if (isAskingExecution(session, parties)) return false;
  return isAssignee(session, parties) || may(session, "inquiry", "respond", { ownerId: parties.assignedToId });
}

/** Returns whether the session may cancel the inquiry: the execution that created it and holders of the grant may. */
export function mayCancel(session: Session, parties: Parties): boolean {
  return isAskingExecution(session, parties) || may(session, "inquiry", "cancel", { ownerId: parties.assignedToId });
}

/** Returns whether the session may read the inquiry. */
export function mayRead(session: Session, parties: Parties): boolean {
  return (
    isAskingExecution(session, parties) ||
    isAssignee(session, parties) ||
    may(session, "inquiry", "read", { ownerId: parties.assignedToId })
  );
}
