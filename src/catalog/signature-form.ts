import { z } from "zod";
import { InvalidInputError, type Issue, invalid } from "../errors.ts";

/** The ways in which senders sign: see `WebhookScheme` in the API. */
export const webhookSchemes = [
  ...(["github", "gitlab", "meta", "shopify", "slack", "standard_webhooks", "stripe", "twilio", "typeform"] as const),
  ...(["token", "body"] as const),
] as const;
export type SchemeName = (typeof webhookSchemes)[number];

/** How a request shows who sent it. Names are those of the stored configuration; names of headers are in lower case. */
export interface SignatureForm {
  /** `token`: the header contains the secret itself. */
  algorithm: "sha1" | "sha256" | "sha512" | "token";
  encoding: "hex" | "base64";
  /** The header with the signature, and what precedes the signature there. */
  header: string;
  prefix: string;
  /** What separates the items of the header; those with the prefix are signatures. Null: the header has one signature. */
  separator: "," | " " | null;
  /** The header with the signed time. */
  timestamp_header: string | null;
  /** What precedes the signed time in its item of the header with the signatures. */
  timestamp_prefix: string | null;
  /** The header with the signed id. */
  id_header: string | null;
  /** The text that is signed: `{body}`, `{timestamp}`, `{id}`, `{url}` and `{form}` are replaced. */
  signed_text: string;
  /** The farthest that a signed time may be from this server's. */
  tolerance_seconds: number;
  /** Whether a repetition is known by its signature, because what is signed differs between any two deliveries. */
  known_by_signature: boolean;
  /** The header with the delivery's id, which is not signed, unless the webhook names another one. */
  delivery_header: string | null;
  /** Whether the secret is `whsec_` and the key in base64, rather than the key itself. */
  secret_is_encoded: boolean;
}

const settable = [
  ...(["algorithm", "encoding", "header", "prefix"] as const),
  ...(["timestamp_header", "signed_text", "tolerance_seconds"] as const),
];
type Settable = (typeof settable)[number];

/** How a webhook's requests are signed: a scheme, and what the webhook sets of its form. */
export type HmacConfig = { scheme: SchemeName } & Partial<Pick<SignatureForm, Settable>>;

const plain: SignatureForm = {
  algorithm: "sha256",
  encoding: "hex",
  header: "x-hub-signature-256",
  prefix: "sha256=",
  separator: null,
  timestamp_header: null,
  timestamp_prefix: null,
  id_header: null,
  signed_text: "{body}",
  tolerance_seconds: 300,
  known_by_signature: false,
  delivery_header: null,
  secret_is_encoded: false,
};

/** The forms of the schemes, and what a webhook may set of each. */
const schemes: Readonly<Record<SchemeName, { form: SignatureForm; open: readonly Settable[] }>> = {
  github: { form: { ...plain, delivery_header: "x-github-delivery" }, open: ["algorithm", "header", "prefix"] },
  gitlab: {
    form: { ...plain, algorithm: "token", header: "x-gitlab-token", prefix: "", delivery_header: "idempotency-key" },
    open: [],
  },
  meta: { form: { ...plain, known_by_signature: true }, open: [] },
  shopify: {
    form: {
      ...{ ...plain, encoding: "base64", header: "x-shopify-hmac-sha256", prefix: "" },
      delivery_header: "x-shopify-webhook-id",
    },
    open: [],
  },
  slack: {
    form: {
      ...{ ...plain, header: "x-slack-signature", prefix: "v0=", timestamp_header: "x-slack-request-timestamp" },
      signed_text: "v0:{timestamp}:{body}",
    },
    open: [],
  },
  standard_webhooks: {
    form: {
      ...{ ...plain, encoding: "base64", header: "webhook-signature", prefix: "v1,", separator: " " },
      ...{ timestamp_header: "webhook-timestamp", id_header: "webhook-id", signed_text: "{id}.{timestamp}.{body}" },
      secret_is_encoded: true,
    },
    open: [],
  },
  stripe: {
    form: {
      ...{ ...plain, header: "stripe-signature", prefix: "v1=", separator: ",", timestamp_prefix: "t=" },
      signed_text: "{timestamp}.{body}",
    },
    open: [],
  },
  twilio: {
    form: {
      ...{ ...plain, algorithm: "sha1", encoding: "base64", header: "x-twilio-signature", prefix: "" },
      ...{ signed_text: "{url}{form}", known_by_signature: true },
    },
    open: ["algorithm"],
  },
  typeform: {
    form: { ...plain, encoding: "base64", header: "typeform-signature", known_by_signature: true },
    open: [],
  },
  token: {
    form: { ...plain, algorithm: "token", header: "authorization", prefix: "Bearer " },
    open: ["header", "prefix"],
  },
  body: { form: plain, open: settable },
};

/** Returns the form of the webhook's signatures. */
export function formOf(config: HmacConfig): SignatureForm {
  const { form, open } = schemes[config.scheme];
  return { ...form, ...Object.fromEntries(open.flatMap((name) => (name in config ? [[name, config[name]]] : []))) };
}

/** The farthest that a webhook may let a signed time be from this server's, in seconds. */
export const longestTolerance = 86_400;

/** The schemes that sign a time, whatever a webhook sets; one of the scheme `body` does with a `timestamp_header`. */
export const timedSchemes: readonly SchemeName[] = webhookSchemes.filter((name) => {
  const { timestamp_header: header, timestamp_prefix: prefix } = schemes[name].form;
  return header !== null || prefix !== null;
});

/** The name of a header in lower case. */
export const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,100}$/, "must be the name of an HTTP header such as X-Signature")
  .transform((name) => name.toLowerCase());

/** The input that describes how a webhook's requests are signed. */
export const hmacInput = z.object({
  secret: z.string().min(6, "must have at least 6 characters").max(1000),
  scheme: z.enum(webhookSchemes).nullish(),
  algorithm: z.enum(["sha1", "sha256", "sha512"]).nullish(),
  encoding: z.enum(["hex", "base64"]).nullish(),
  header: headerName.nullish(),
  prefix: z.string().max(100).nullish(),
  timestampHeader: headerName.nullish(),
  signedText: z.string().max(200).nullish(),
  toleranceSeconds: z.int().min(1).max(longestTolerance).nullish(),
});

/**
 * Returns what is stored of the input, and the header with the delivery's id. Throws InvalidInputError with every setting that the scheme fixes,
 * and for a text that does not sign what it must.
 */
export function readHmac(
  input: z.infer<typeof hmacInput>,
  deliveryHeader: string | null,
): { hmac: HmacConfig; deliveryHeader: string | null } {
  const { secret, algorithm, encoding, header, prefix } = input;
  const scheme = input.scheme ?? ((header ?? plain.header) === plain.header && !isGeneral(input) ? "github" : "body");
  const { form, open } = schemes[scheme];
  const given: Partial<Record<Settable, unknown>> = {
    ...{ algorithm, encoding, header, prefix, timestamp_header: input.timestampHeader },
    ...{ signed_text: input.signedText, tolerance_seconds: input.toleranceSeconds },
  };
  const set = settable.filter((name) => given[name] !== null && given[name] !== undefined);
  const fixed = set.filter((name) => !open.includes(name)).map((name) => `hmac.${inputNames[name] ?? name}`);
  if (deliveryHeader !== null && knowsRepetitions(form)) fixed.push("deliveryHeader");
  refuseFixed(scheme, fixed);
  if (form.secret_is_encoded && !/^whsec_[A-Za-z0-9+/]{16,}=*$/.test(secret)) {
    throw invalid("hmac.secret", "must be whsec_ and the secret's bytes in base64");
  }
  const kept = Object.fromEntries(set.map((name) => [name, given[name]]));
  const named = open.includes("algorithm") && open.includes("prefix") ? { prefix: `${algorithm ?? "sha256"}=` } : {};
  const hmac = { scheme, ...pick(form, open), ...named, ...kept } as HmacConfig; // each checked by hmacInput
  if (scheme === "body") checkText(hmac, deliveryHeader);
  return { hmac, deliveryHeader: deliveryHeader ?? form.delivery_header };
}

/** Whether requests show by what is signed that they were sent before, so that no header says it. */
const knowsRepetitions = (form: SignatureForm) =>
  form.known_by_signature || form.timestamp_header !== null || form.timestamp_prefix !== null;

function refuseFixed(scheme: SchemeName, paths: readonly string[]): void {
  const message = `is fixed by the scheme ${scheme.toUpperCase()}: leave it out`;
  if (paths.length > 0) throw new InvalidInputError(paths.map((path) => ({ path, message })));
}

/** Returns the header with the delivery's id for a webhook whose scheme stays. Throws InvalidInputError where the scheme fixes it. */
export function checkDeliveryHeader(hmac: HmacConfig, deliveryHeader: string | null): string | null {
  const { form } = schemes[hmac.scheme];
  if (deliveryHeader !== null && knowsRepetitions(form)) refuseFixed(hmac.scheme, ["deliveryHeader"]);
  if (hmac.scheme === "body") checkText(hmac, deliveryHeader);
  return deliveryHeader ?? form.delivery_header;
}

const inputNames: Partial<Record<Settable, string>> = {
  timestamp_header: "timestampHeader",
  signed_text: "signedText",
  tolerance_seconds: "toleranceSeconds",
};

const isGeneral = ({ encoding, timestampHeader, signedText, toleranceSeconds }: z.infer<typeof hmacInput>) =>
  [encoding, timestampHeader, signedText, toleranceSeconds].some((each) => each !== null && each !== undefined);

const pick = (form: SignatureForm, names: readonly Settable[]) =>
  Object.fromEntries(names.map((name) => [name, form[name]]));

/** Throws InvalidInputError where the text leaves unsigned what the check relies on, or names what there is not. */
function checkText(hmac: HmacConfig, deliveryHeader: string | null): void {
  const { signed_text: text, timestamp_header: timestamp } = formOf(hmac);
  const named = [...text.matchAll(/\{(\w*)\}/g)].map(([, name = ""]) => name);
  const needed = { body: true, timestamp: timestamp !== null, id: timestamp !== null && deliveryHeader !== null };
  const allowed = { body: true, timestamp: timestamp !== null, id: deliveryHeader !== null, url: true };
  const messages = [
    ...named.filter((name) => !Object.hasOwn(allowed, name)).map((name) => `has the unknown {${name}}`),
    ...Object.entries(needed).flatMap(([name, isNeeded]) =>
      isNeeded && !named.includes(name) ? [`must contain {${name}}, which would not be signed otherwise`] : [],
    ),
    ...(named.includes("timestamp") && !allowed.timestamp
      ? ["has {timestamp}: name its header in timestampHeader"]
      : []),
    ...(named.includes("id") && !allowed.id ? ["has {id}: name its header in deliveryHeader"] : []),
  ];
  const issues: Issue[] = messages.map((message) => ({ path: "hmac.signedText", message }));
  if (issues.length > 0) throw new InvalidInputError(issues);
}
