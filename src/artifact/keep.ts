import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { ConflictError, Refusal } from "../errors.ts";
import { inProgress, statusIn } from "../execution/states.ts";
import { checkInput } from "../schema/input.ts";
import { type Insert, insertArtifact } from "./artifact.ts";
import { type ArtifactType, artifactRef, type ProgressEntry } from "./fields.ts";
import { type Received, removeFiles } from "./files.ts";
import { appendEntry } from "./progress.ts";
import { addVersion } from "./version.ts";

/** An attempt at an execution; its files and progress are only stored while it is the current one. */
export interface ExecutionAttempt {
  id: string;
  attempt: number;
  actionRef: string;
}

/** A content that an attempt produced. */
export interface ProducedContent {
  ref: string;
  type: ArtifactType;
  contentType: string;
  received: Received;
}

/** The retention of artifacts of executions, in days: that of the executions themselves. */
const keptDays = 30;

/**
 * Stores a content of an attempt as the next version of its action's artifact with that ref. Returns null, and stores nothing, when the
 * attempt is no longer running. A content that is stored again is skipped. Throws InvalidInputError, ConflictError.
 */
export async function keepContent(
  services: Services,
  of: ExecutionAttempt,
  { ref: given, type, contentType, received }: ProducedContent,
): Promise<{ ref: string; version: number; size: number } | null> {
  const ref = checkInput(artifactRef, given, "ref");
  const content = await received.keep();
  const { size } = content;
  let isKept = false;
  const store = async (tx: Tx) => {
    isKept = false;
    if (!(await holdRunning(tx, of))) return null;
    const artifact = await findOrInsertArtifact(tx, {
      ...{ ref, scope: "action", owner: of.actionRef, type, contentType },
      fields: { retention: "days", retentionLimit: keptDays },
    });
    const earlier = await findSame(tx, artifact, { execution: of.id, sha256: content.sha256 });
    if (earlier !== null) {
      isKept = earlier.storageKey === content.storageKey;
      return { ref, version: earlier.version, size };
    }
    const { version } = await addVersion(tx, { artifact, execution: of.id, contentType, content });
    isKept = true;
    return { ref, version, size };
  };
  try {
    // A transaction of its own: the content is received before it, and its file is removed if it fails.
    const kept = await write(services, store);
    if (!isKept) await removeFiles(services, [content.storageKey]);
    return kept;
  } catch (error) {
    if (error instanceof Refusal) await removeFiles(services, [content.storageKey]);
    throw error;
  }
}

/** Returns whether the attempt is running, and keeps it from ending before the transaction does. */
async function holdRunning(tx: Tx, { id, attempt }: ExecutionAttempt): Promise<boolean> {
  const found = await rows(
    tx.db,
    sql`select id::text from attune.execution where id = ${id}::bigint and attempt = ${attempt}
      and ${statusIn(inProgress)} for share`,
  );
  return found.length > 0;
}

/** Returns the id of its owner's artifact with that ref, which is created if it is missing. Throws ConflictError when it is deleted meanwhile. */
export async function findOrInsertArtifact(tx: Tx, artifact: Omit<Insert, "id">): Promise<string> {
  const { ref, scope, owner } = artifact;
  const inserted = await insertArtifact(tx, { ...artifact, id: null });
  if (inserted !== null) return String(inserted);
  const [found] = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.artifact where scope = ${scope}::attune.owner_type and owner = ${owner} and ref = ${ref}`,
  );
  if (!found) throw new ConflictError(`The artifact "${ref}" was deleted meanwhile.`);
  return found.id;
}

/** Returns the newest version if this execution has already stored the same content: in a retry, or in an earlier attempt. */
async function findSame(
  tx: Tx,
  artifact: string,
  { execution, sha256 }: { execution: string; sha256: string },
): Promise<{ version: number; storageKey: string | null } | null> {
  const [newest] = await rows<{ version: number; storageKey: string | null; isSame: boolean }>(
    tx.db,
    sql`select version, storage_key as "storageKey", coalesce(execution = ${execution}::bigint and sha256 = ${sha256}, false) as "isSame"
      from attune.artifact_version where artifact = ${artifact}::bigint order by version desc limit 1`,
  );
  return newest?.isSame ? newest : null;
}

/** Adds an entry to an attempt's artifact of type progress; does nothing when the attempt is no longer running. */
export async function noteProgress(
  services: Services,
  of: ExecutionAttempt,
  { ref, entry }: { ref: string; entry: ProgressEntry },
) {
  // A transaction of its own: progress is visible while the action runs.
  await write(services, (tx) =>
    tx.db.execute(
      sql`insert into attune.artifact as a (ref, scope, owner, type, retention, retention_limit, data)
        select ${ref}, 'action', ${of.actionRef}, 'progress', 'days', ${keptDays}::int,
          (select ${appendEntry(entry)} from (select null::jsonb as data) a)
        from attune.execution e where e.id = ${of.id}::bigint and e.attempt = ${of.attempt}
          and ${statusIn(inProgress, "e.status")}
        on conflict (scope, owner, ref) do update set data = ${appendEntry(entry)} where a.type = 'progress'`,
    ),
  );
}
