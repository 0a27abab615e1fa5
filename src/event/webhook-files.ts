import { contentType } from "../artifact/fields.ts";
import { receiveContent, removeFiles, type StorableContent } from "../artifact/files.ts";
import { findOrInsertArtifact } from "../artifact/keep.ts";
import { addVersion } from "../artifact/version.ts";
import type { Services } from "../db/services.ts";
import type { Tx } from "../db/tx.ts";
import { Refusal } from "../errors.ts";
import type { SentFile } from "../lib/body.ts";
import { globalId } from "../lib/global-id.ts";
import type { DeliveredEvent, DeliveryResponse } from "./webhook.ts";

/** A file of a delivery whose content is where it stays, and the object in the payload that describes it. */
export interface KeptFile extends Pick<SentFile, "shown" | "contentType"> {
  content: StorableContent;
}

/** For how long the files of webhooks are kept, in days: as long as those of executions. */
const keptDays = 30;
const unknownType = "application/octet-stream";

/**
 * Makes the contents of files permanent before the transaction that stores their delivery, and removes them again when it stores none. Throws the
 * refusals of the work, and InvalidInputError for a file that this installation cannot store.
 */
export async function withFiles(
  services: Services,
  files: readonly SentFile[],
  work: (kept: KeptFile[]) => Promise<DeliveryResponse>,
): Promise<DeliveryResponse> {
  if (files.length === 0) return await work([]);
  await using received = new AsyncDisposableStack();
  const kept: KeptFile[] = [];
  const remove = async () => {
    await removeFiles(
      services,
      kept.map(({ content }) => content.storageKey),
    );
  };
  try {
    for (const { shown, contentType: type, content } of files) {
      const one = received.use(await receiveContent(services, pieceOf(content)));
      kept.push({ shown, contentType: type, content: await one.keep() });
    }
    const response = await work(kept);
    if (response.status !== 202) await remove();
    return response;
  } catch (error) {
    // A refusal has rolled back. After other errors the rows may exist: the sweep finds out.
    if (error instanceof Refusal) await remove();
    throw error;
  }
}

async function* pieceOf(content: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield content;
}

/**
 * Stores the files of events as versions of the artifact of their webhook, in the caller's transaction, and names these in the payload. Throws
 * ConflictError when an artifact without versions has its ref.
 */
export async function storeFiles(tx: Tx, trigger: string, events: readonly DeliveredEvent[]): Promise<void> {
  for (const { shown, contentType: given, content } of events.flatMap(({ files = [] }) => files)) {
    const type = contentType.safeParse(given).data ?? unknownType;
    const artifact = await findOrInsertArtifact(tx, {
      ...{ ref: `webhooks/${trigger}`, scope: "pack", owner: trigger.split(".", 1)[0] ?? "" },
      ...{ type: "file_binary", contentType: type },
      fields: { retention: "days", retentionLimit: keptDays },
    });
    const { id, version } = await addVersion(tx, { artifact, execution: null, contentType: type, content });
    Object.assign(shown, {
      artifact: globalId("Artifact", artifact),
      version,
      versionId: globalId("ArtifactVersion", id),
    });
  }
}
