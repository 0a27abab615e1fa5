import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { formOf, type HmacConfig, type SignatureForm } from "../catalog/signature-form.ts";
import { readText } from "../lib/body.ts";

/** The signed request; header names are in lower case. */
interface Request {
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
  /** The URL that the sender used; null where the server does not know it. */
  url: string | null;
}

/** A request whose signature is valid, with the id by which a repetition of it is known (null for none), or why it is refused. */
export type SignatureCheck = { id: string | null; error?: undefined } | { error: string };

const wrong = { error: "the signature is missing or wrong" };

/** Returns which header of the form is not there at all; null: all are. What is in them is not described. */
function missingHeader(headers: Request["headers"], form: SignatureForm, idName: string | null): string | null {
  const needed: [string | null, string][] = [
    [form.header, `has the ${form.algorithm === "token" ? "secret" : "signature"}: does the sender know the secret?`],
    [form.timestamp_header, "has the time of the signature"],
    [form.signed_text.includes("{id}") ? idName : null, "has the id that is signed"],
  ];
  const [name, what] = needed.find(([each]) => each !== null && headers[each] === undefined) ?? [];
  return name === undefined ? null : `the header ${name} is missing, which ${what}`;
}

/**
 * Checks the signature with any of the secrets, in constant time, and that the request is not an old one that is sent again: a signed time must be
 * near this server's, and a request whose form has an id must have sent it. `now` is in milliseconds.
 */
export function checkSignature(
  request: Request,
  { config, secrets, idHeader }: { config: HmacConfig; secrets: readonly string[]; idHeader: string | null },
  now = Date.now(),
): SignatureCheck {
  const form = formOf(config);
  const idName = form.id_header ?? idHeader;
  const missing = missingHeader(request.headers, form, idName);
  if (missing !== null) return { error: missing };
  const items = itemsOf(request.headers, form);
  const written = timeOf(request.headers, form, items);
  const id = idName === null ? null : request.headers[idName] || null;
  if (written === null) return wrong;
  if (form.signed_text.includes("{url}") && request.url === null) {
    return { error: "the sender signs the URL: set ATTUNE__SERVER__PUBLIC_URL to the address that it uses" };
  }
  const given = items.flatMap((item) => {
    const decoded = item.startsWith(form.prefix) ? decode(item.slice(form.prefix.length), form) : null;
    return decoded === null ? [] : [decoded];
  });
  const expected = secrets
    .flatMap((secret) => signaturesOf(request, form, { secret, timestamp: written, id: id ?? "" }))
    .find((each) => given.some((sent) => sent.length === each.length && timingSafeEqual(sent, each)));
  if (expected === undefined) return wrong;
  if (isFar(written, form.tolerance_seconds, now)) {
    return { error: `the signed time is more than ${form.tolerance_seconds} seconds away from this server's` };
  }
  const isIdSigned = form.signed_text.includes("{id}");
  if (form.known_by_signature || (written !== "" && !isIdSigned)) return { id: expected.toString("hex") };
  if (idName === null || id !== null) return { id };
  return { error: `the header ${idName} is missing, by which a delivery that is sent again is known` };
}

function itemsOf(headers: Request["headers"], { header, separator }: SignatureForm): string[] {
  const value = headers[header];
  if (value === undefined) return [];
  const items = separator === null ? [value] : value.split(separator);
  return items.includes("") ? [] : items;
}

/** Returns the signed time as it is written; "" where the form has none, null where the request lacks it. */
function timeOf(headers: Request["headers"], form: SignatureForm, items: readonly string[]): string | null {
  const { timestamp_header: header, timestamp_prefix: prefix } = form;
  if (header === null && prefix === null) return "";
  const found =
    header !== null ? [headers[header] ?? ""] : items.flatMap((item) => (item.startsWith(prefix ?? "") ? [item] : []));
  const [written = "", ...more] = header !== null ? found : found.map((item) => item.slice(prefix?.length));
  return more.length === 0 && /^\d{1,14}$/.test(written) ? written : null;
}

/** Seconds since 1970 above this number are in the year 5138: senders mean milliseconds. */
const earliestMilliseconds = 1e11;

function isFar(written: string, toleranceSeconds: number, now: number): boolean {
  if (written === "") return false;
  const time = Number(written) < earliestMilliseconds ? Number(written) * 1000 : Number(written);
  return Math.abs(now - time) > toleranceSeconds * 1000;
}

/** Returns the bytes of a signature in exactly the form's encoding, with digits in either case in hex; null for any other text. */
function decode(text: string, { algorithm, encoding }: SignatureForm): Buffer | null {
  if (algorithm === "token") return digestOf(text);
  if (encoding === "hex") return /^(?:[0-9a-f]{2})+$/i.test(text) ? Buffer.from(text, "hex") : null;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}

/** Tokens of any length are compared by their digests. */
const digestOf = (text: string) => createHash("sha256").update(text).digest();

/** Returns the signatures that the request may have: of a form that signs the URL one for each way to write its port. */
function signaturesOf(
  request: Request,
  form: SignatureForm,
  { secret, timestamp, id }: { secret: string; timestamp: string; id: string },
): Buffer[] {
  const { algorithm, signed_text: text } = form;
  if (algorithm === "token") return [digestOf(secret)];
  const key = form.secret_is_encoded ? Buffer.from(secret.replace(/^whsec_/, ""), "base64") : secret;
  const fields = text.includes("{form}") ? formText(request) : "";
  if (fields === null) return [];
  const urls = text.includes("{url}") && request.url !== null ? spellingsOf(request.url) : [""];
  return urls.map((url) => {
    const values = new Map<string, string | Uint8Array>([
      ...([["{body}", request.body]] as const),
      ...Object.entries({ "{timestamp}": timestamp, "{id}": id, "{url}": url, "{form}": fields }),
    ]);
    const mac = createHmac(algorithm, key);
    for (const part of text.split(/(\{\w+\})/)) mac.update(values.get(part) ?? part);
    return mac.digest();
  });
}

/** Senders differ in whether they sign a port, so the URL is tried as it is, with the port of its scheme, and without any. */
function spellingsOf(url: string): string[] {
  const [, scheme = "", host = "", rest = ""] = /^(https?):\/\/([^/?#]*)(.*)$/s.exec(url) ?? [];
  const bare = host.replace(/:\d+$/, "");
  const port = scheme === "https" ? 443 : 80;
  return [...new Set([host, `${bare}:${port}`, bare])].map((each) => `${scheme}://${each}${rest}`);
}

/**
 * Returns the parameters of a form, sorted by name, each name with its value, and each of several values once; "" for another body whose SHA-256
 * the URL contains as `bodySHA256`; null if neither can be read.
 */
function formText({ headers, body, url }: Request): string | null {
  const type = headers["content-type"];
  if (!/^application\/x-www-form-urlencoded\s*(;|$)/i.test(type ?? "")) {
    const sent = new URL(url ?? "").searchParams.get("bodySHA256");
    const isSigned = sent === null ? body.length === 0 : sent === createHash("sha256").update(body).digest("hex");
    return isSigned ? "" : null;
  }
  let pairs: URLSearchParams;
  try {
    pairs = new URLSearchParams(readText(body, type, ""));
  } catch {
    return null; // what is no text cannot have been signed
  }
  const names = [...new Set(pairs.keys())].sort();
  const valuesOf = (name: string) => [...new Set(pairs.getAll(name))].sort();
  return names.flatMap((name) => valuesOf(name).map((value) => name + value)).join("");
}
