import { may } from "../access/grants.ts";
import type { Session } from "../access/session.ts";

/** Who has to do with an inquiry. */
export interface Parties {
  executionId: bigint | null;
  assignedToId: bigint | null;
  assignedRole: string | null;
}

/** Whether the session is that of the execution that asked. */
export function isAsker({ executionId }: Session, parties: Parties): boolean {
  return executionId !== null && executionId === parties.executionId;
}

/** Whether it was assigned to whoever holds the session: a person, for an execution has no say of its identity's. */
function isAssignee({ kind, identityId, roles }: Session, { assignedToId, assignedRole }: Parties): boolean {
  if (kind !== "session" && kind !== "api") return false;
  return (
    (identityId !== null && identityId === assignedToId) || (assignedRole !== null && roles.includes(assignedRole))
  );
}

/** Whether the session may answer: the assignee and who holds the grant may, the execution that asked never. */
export function mayRespond(session: Session, parties: Parties): boolean {
  if (isAsker(session, parties)) return false;
  return isAssignee(session, parties) || may(session, "inquiry", "respond", { ownerId: parties.assignedToId });
}

/** Whether the session may take the question back: who asked may, and who holds the grant. */
export function mayCancel(session: Session, parties: Parties): boolean {
  return isAsker(session, parties) || may(session, "inquiry", "cancel", { ownerId: parties.assignedToId });
}

/** Whether the session may know of the inquiry. */
export function mayRead(session: Session, parties: Parties): boolean {
  return (
    isAsker(session, parties) ||
    isAssignee(session, parties) ||
    may(session, "inquiry", "read", { ownerId: parties.assignedToId })
  );
}
