import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { addGroup, countOption, define, type Group, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { askSecret, readObject, readSecretLine } from "../input.ts";

interface EnableOptions {
  scheme?: string;
  secretOverlap?: number;
  deliveryHeader?: string;
  rate?: string;
  allow?: string;
  cloudEvents?: "yes" | "no";
  maxBytes?: number;
  settings?: string;
}

interface Trigger {
  ref: string;
  webhookEnabled: boolean;
  webhookPath: string | null;
  webhook: { hmac: object | null } | null;
}

const selection = `ref webhookEnabled webhookPath webhook {
  hmac { scheme algorithm encoding header prefix timestampHeader signedText toleranceSeconds }
  deliveryHeader maxBytes rateLimit { requests seconds } allow cloudEvents hasVerifyToken previousPathUntil previousSecretUntil }`;

const deliveryColumns = [
  ["RECEIVED", "received"],
  ["STATUS", "statusCode"],
  ["FROM", "sourceIp"],
  ["EVENT", "event.id"],
  ["ERROR", "error"],
] as const;

/** Adds `webhook enable`, `disable`, `rotate`, `show` and `deliveries`. */
export function addWebhooks(above: Group): void {
  const commands = addGroup(above, "webhook", "work with the webhooks of triggers", "show default.hello");
  addEnable(commands);
  define(commands, {
    name: "disable <trigger>",
    description: "refuse requests to a webhook; it keeps its path and its configuration",
    examples: ["disable default.hello"],
    names: "trigger",
    run: async (context, [trigger = ""]) => {
      const changed = await mutate<{ trigger: Trigger }>(
        context.ask,
        "disableWebhook",
        { trigger },
        `trigger { ${selection} }`,
      );
      await print(context, changed.trigger);
    },
  });
  define<{ overlap?: number }>(commands, {
    name: "rotate <trigger>",
    description: "give a webhook a new path, and refuse requests to the old one",
    options: [countOption("--overlap <seconds>", "accept requests to the old path too for that long, up to 30 days")],
    examples: ["rotate default.hello", "rotate default.hello --overlap 86400"],
    names: "trigger",
    run: (context, [trigger = ""], { overlap }) =>
      change(context, "rotateWebhookKey", { trigger, ...(overlap === undefined ? {} : { overlapSeconds: overlap }) }),
  });
  define(commands, {
    name: "show <trigger>",
    description: "show the address of a webhook and how it is configured; its secrets are never shown",
    examples: ["show default.hello", "show default.hello --output json"],
    names: "trigger",
    run: async (context, [ref = ""]) => {
      const document = `query($ref: String!) { triggerByRef(ref: $ref) { ${selection} } }`;
      const { triggerByRef: found } = await context.ask<{ triggerByRef: Trigger | null }>(document, { ref });
      if (!found) throw new Failure(`There is no trigger "${ref}", or you may not read it.`, { code: "NOT_FOUND" });
      await print(context, found);
    },
  });
  addDeliveries(commands);
}

function addEnable(commands: Group): void {
  define<EnableOptions>(commands, {
    name: "enable <trigger>",
    description: "enable a trigger's webhook, or change it; what no option names stays as it is",
    options: [
      option(
        "--scheme <scheme>",
        "how its sender signs, such as github, slack or standard_webhooks; the secret is the first line of standard input, or typed; none: signatures are not checked",
      ),
      countOption("--secret-overlap <seconds>", "with --scheme: accept the secret until now too for that long"),
      option("--delivery-header <name>", "the header with the id by which a repetition is known"),
      option("--rate <events/seconds>", "the most events within a time, such as 100/60; none: any number"),
      option("--allow <networks>", "where requests may come from, separated by commas; none: from anywhere"),
      option("--cloud-events <yes|no>", "accept CloudEvents and nothing else").choices(["yes", "no"]),
      countOption("--max-bytes <count>", "the largest body that is accepted"),
      option(
        "--settings <file>",
        "anything else in the form of the API's EnableWebhookInput, from a file of JSON or YAML; options come first",
      ),
    ],
    examples: [
      "enable default.hello",
      "enable default.hello --rate 100/60 --allow 192.0.2.0/24,2001:db8::/32",
      "enable default.hello --scheme github < secret.txt",
      "enable default.hello --settings webhook.yaml",
    ],
    names: "trigger",
    run: async (context, [trigger = ""], options) => {
      const settings = options.settings === undefined ? {} : await readObject(context, options.settings);
      const hmac = options.scheme === undefined ? {} : { hmac: await hmacOf(context, options.scheme, settings) };
      await change(context, "enableWebhook", { ...settings, ...settingsOf(options), ...hmac, trigger });
    },
  });
}

/** Returns the signatures of a scheme, with the secret from where it is not seen; null for the scheme `none`. */
async function hmacOf(
  { terminal }: Context,
  scheme: string,
  settings: Record<string, unknown>,
): Promise<object | null> {
  if (scheme === "none") return null;
  const given = (settings["hmac"] ?? {}) as { secret?: unknown };
  if (given.secret !== undefined) return { ...given, scheme: scheme.toUpperCase() };
  const typed = () => askSecret(terminal, "Secret", "send the secret on standard input");
  const secret = await (terminal.stdin.isTTY ? typed() : readSecretLine(terminal, "the secret"));
  return { ...given, scheme: scheme.toUpperCase(), secret };
}

function settingsOf(options: EnableOptions): Record<string, unknown> {
  const { secretOverlap, deliveryHeader, rate, allow, cloudEvents, maxBytes } = options;
  const given = {
    secretOverlapSeconds: secretOverlap,
    deliveryHeader,
    rateLimit: rate === undefined ? undefined : rateOf(rate),
    allow: allow === "none" ? null : allow?.split(",").map((each) => each.trim()),
    cloudEvents: cloudEvents === undefined ? undefined : cloudEvents === "yes",
    maxBytes,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function rateOf(text: string): { requests: number; seconds: number } | null {
  if (text === "none") return null;
  const [, requests, seconds] = /^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? [];
  if (seconds !== undefined) return { requests: Number(requests), seconds: Number(seconds) };
  throw new UsageFailure(`"${text}" is no rate: write 100/60 for 100 events in 60 seconds, or none.`);
}

async function change(context: Context, name: string, input: object): Promise<void> {
  const changed = await mutate<{ trigger: Trigger | null }>(context.ask, name, input, `trigger { ${selection} }`);
  if (changed.trigger === null) return context.note("It is changed; you may not read the trigger.");
  await print(context, changed.trigger);
}

/** Prints a webhook with its whole address, which only those see who may change the trigger. */
async function print(context: Context, { ref, webhookEnabled, webhookPath, webhook }: Trigger): Promise<void> {
  if (webhook === null) throw new Failure(`The webhook of "${ref}" was never enabled: attune webhook enable ${ref}`);
  const url = webhookPath === null ? null : `${context.connection.url}${webhookPath}`;
  const { hmac, ...others } = webhook;
  // Most of what a general form may set is not set in one of a scheme.
  const set = hmac && Object.fromEntries(Object.entries(hmac).filter(([, value]) => value !== null));
  await context.printObject({ trigger: ref, enabled: webhookEnabled, url, hmac: set, ...others });
}

function addDeliveries(commands: Group): void {
  define<{ limit?: number; refused?: boolean }>(commands, {
    name: "deliveries <trigger>",
    description: "show the requests to a webhook, newest first",
    options: [
      countOption("--limit <count>", "at most so many, up to 100; 20 by default"),
      option("--refused", "only those that were refused, with the reason"),
    ],
    examples: ["deliveries default.hello", "deliveries default.hello --refused --limit 5"],
    names: "trigger",
    run: async (context, [ref = ""], { limit = 20, refused = false }) => {
      const { triggerByRef } = await context.ask<{ triggerByRef: { webhookDeliveries: { nodes: object[] } } | null }>(
        `query($ref: String!, $limit: Int!, $where: WebhookDeliveryWhere) { triggerByRef(ref: $ref) {
          webhookDeliveries(first: $limit, where: $where) { nodes { received statusCode error sourceIp headers size durationMs signatureVerified deliveryId event { id } } } } }`,
        { ref, limit, where: refused ? { statusCode: { gte: 400 } } : null },
      );
      if (!triggerByRef)
        throw new Failure(`There is no trigger "${ref}", or you may not read it.`, { code: "NOT_FOUND" });
      await context.printRows(
        triggerByRef.webhookDeliveries.nodes,
        deliveryColumns,
        `${ref}: no requests are recorded.`,
      );
    },
  });
}
