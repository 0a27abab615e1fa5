import type { IncomingMessage, ServerResponse } from "node:http";
import { recordAudit } from "../access/audit.ts";
import type { Origins } from "../access/origin.ts";
import { findDownload, sessionOfLink } from "../artifact/download.ts";
import { rowBytes } from "../artifact/files.ts";
import { type Link, readLink } from "../artifact/link.ts";
import { receiveUpload, type Sender } from "../artifact/upload.ts";
import { readVersion, type StoredVersion } from "../artifact/version.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { Refusal } from "../errors.ts";
import { globalId } from "../lib/global-id.ts";
import type { Intake } from "./intake.ts";
import { chooseRange, isCurrent } from "./range.ts";
import { respond } from "./respond.ts";

/**
 * Handles `GET /artifacts/<version>` and `PUT /artifacts/upload/<artifact>`, each with a signed link from the API. The link's session
 * must still be valid and allowed to do this.
 */
export async function handleArtifact(
  { services, origins, uploads }: { services: Services; origins: Origins; uploads: Intake },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const target = new URL(request.url ?? "/", "http://localhost");
  const isUpload = target.pathname.startsWith("/artifacts/upload/");
  const methods = isUpload ? ["PUT"] : ["GET", "HEAD"];
  if (!methods.includes(request.method ?? "")) {
    return respond(response, 405, { error: methods.join(" or ") }, { allow: methods.join(", ") });
  }
  if (isUpload) services.room.require();
  try {
    const link = readLink(services.keyring, target, Date.now());
    const session = await sessionOfLink(services.db, link);
    const requestId = String(response.getHeader("x-request-id") ?? "");
    const sender = { session, ip: origins.addressOf(request), requestId };
    const { upload } = link;
    if (upload) {
      const take = () => takeUpload(services, sender, { ...link, upload }, { request, response });
      await uploads.admit(request, response, rowBytes, take); // what is longer is written to a file
    } else await sendVersion(services, sender, link, { request, response });
  } catch (error) {
    // A sender that has disconnected gets no response.
    if (request.errored !== null && response.destroyed) return;
    if (!(error instanceof Refusal || error instanceof TooLong)) throw error;
    if (response.headersSent) throw error;
    // The rest of a body would be read as the next request.
    const rest = isUpload && !request.complete ? closing : undefined;
    respond(response, statusOf(error), { error: error.message }, rest);
  }
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

class TooLong extends Error {
  override readonly name = "TooLong";
}

const statuses: Readonly<Record<string, number>> = {
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  BAD_USER_INPUT: 422,
};

const statusOf = (error: Refusal | TooLong) => (error instanceof TooLong ? 413 : (statuses[error.code] ?? 422));

async function takeUpload(
  services: Services,
  sender: Sender,
  link: Link & { upload: NonNullable<Link["upload"]> },
  { request, response }: Exchange,
): Promise<void> {
  const { size, contentType } = link.upload;
  const length = request.headers["content-length"];
  if (length !== undefined && Number(length) > size) throw tooLong(size);
  if (request.headers["content-type"] !== contentType) {
    return respond(
      response,
      422,
      { error: `Content-Type must be ${contentType}, as announced for this link` },
      closing,
    );
  }
  if (length !== undefined && Number(length) !== size) {
    return respond(response, 422, { error: `The content must be ${size} bytes, as announced for this link` }, closing);
  }
  const added = await receiveUpload(services, sender, link, bodyOf(request, size));
  const id = globalId("ArtifactVersion", added.id);
  respond(response, 201, { id, version: added.version });
}

const closing = { connection: "close" };
const tooLong = (size: number) => new TooLong(`The content must be ${size} bytes, as announced for this link.`);

/** Yields the body in pieces; the memory of each is freed when the next is requested. Throws TooLong. */
async function* bodyOf(request: IncomingMessage, size: number): AsyncGenerator<Uint8Array, void> {
  let received = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    received += piece.length;
    if (received > size) throw tooLong(size);
    yield piece;
    release(piece);
  }
}

/** Frees a read buffer at once: the garbage collector would let tens of MiB of them accumulate. */
function release(piece: Buffer): void {
  const memory = piece.buffer;
  if (memory instanceof ArrayBuffer && memory.byteLength === piece.length) memory.transfer(0);
}

async function sendVersion(
  services: Services,
  sender: Sender,
  link: Link,
  { request, response }: Exchange,
): Promise<void> {
  const version = await findDownload(services.db, sender.session, link);
  const etag = `"${version.sha256}"`;
  const headers = { ...headersOf(version), etag };
  if (isCurrent(request.headers["if-none-match"], etag)) {
    response.writeHead(304, headers).end();
    return;
  }
  const range = chooseRange(request.headers, { size: version.size, etag });
  if (range === "unsatisfiable") {
    response.writeHead(416, { ...headers, "content-range": `bytes */${version.size}`, "content-length": 0 }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: version.size };
  const part = range ? { "content-range": `bytes ${start}-${end - 1}/${version.size}` } : {};
  const pieces = readVersion(services, version, { start, end });
  // The first piece is read before the head is sent: content that cannot be read gets an error status.
  const first = request.method === "HEAD" ? null : await pieces.next();
  if (first !== null) await noteDownload(services, sender, version);
  response.writeHead(range ? 206 : 200, { ...headers, ...part, "content-length": end - start });
  try {
    if (first !== null && !first.done && (await send(response, first.value))) {
      for await (const piece of pieces) if (!(await send(response, piece))) break;
    }
  } finally {
    await pieces.return();
  }
  response.end();
}

/** Returns the headers of a download. The artifact may be untrusted: browsers must not run, show or cache it as our own page. */
function headersOf({ ref, contentType }: StoredVersion): Record<string, string> {
  const name = encodeURIComponent(ref.split("/").at(-1) ?? "").replaceAll(/['()*]/g, percentEncoded);
  return {
    "content-type": contentType ?? "application/octet-stream",
    "content-disposition": `attachment; filename*=UTF-8''${name}`, // RFC 8187
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-store",
    "accept-ranges": "bytes",
  };
}

const percentEncoded = (character: string) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;

/** Writes a piece and waits until it is flushed; returns false if the receiver has disconnected. */
function send(response: ServerResponse, piece: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    const closed = () => resolve(false);
    response.once("close", closed);
    response.write(piece, (error) => {
      response.off("close", closed);
      resolve(!error);
    });
  });
}

async function noteDownload(services: Services, { session, ip, requestId }: Sender, version: StoredVersion) {
  await write(services, (tx) =>
    recordAudit(tx.db, {
      category: "download",
      eventType: "downloadArtifact",
      outcome: "success",
      session,
      ip,
      requestId,
      resourceType: "artifact",
      resourceRef: version.ref,
      details: { version: version.version, sha256: version.sha256 },
    }),
  );
}
