import { readableRows } from "../../access/resource.ts";
import type { Session } from "../../access/session.ts";
import { tableOfType } from "./ids.ts";

/** The types of the objects that entries of the notification log name by their numbers, by the field of the content. */
const referred: Readonly<Record<string, keyof typeof tableOfType>> = {
  action: "Action",
  parent: "Execution",
  root: "Execution",
  execution: "Execution",
  enforcement: "Enforcement",
  event: "Event",
  executor: "Identity",
  assignedTo: "Identity",
  worker: "Worker",
};

/** Returns whether the session may know that an entry of the log names this object: it may read all of its kind, or it is its own identity. */
export function mayKnowReference(session: Session | null, typename: keyof typeof tableOfType, id: string): boolean {
  if (session === null) return false;
  if (typename === "Identity" && session.identityId !== null && String(session.identityId) === id) return true;
  return readableRows(session, tableOfType[typename]) === null;
}

/** Returns the content of an entry with null for each object that the session may not know of. */
export function knownContent<T extends object | null>(session: Session | null, content: T): T {
  if (content === null) return content;
  const known = Object.entries(content).map(([field, value]) => {
    const typename = referred[field];
    const isHidden = typename !== undefined && typeof value === "string" && !mayKnowReference(session, typename, value);
    const isNested = typeof value === "object" && value !== null && !Array.isArray(value);
    return [field, isHidden ? null : isNested ? knownContent(session, value) : value];
  });
  return Object.fromEntries(known) as T;
}
