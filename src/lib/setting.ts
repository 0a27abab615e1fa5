import { z } from "zod";
import { StartError } from "../errors.ts";
import { isNetwork } from "./network.ts";

/** true or false. */
export const flag = z.enum(["true", "false"]).transform((text) => text === "true");
/** A whole number in a range. */
export const whole = (least: number, most: number) =>
  z
    .string()
    .refine((text) => /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most, {
      message: `must be a whole number from ${least} to ${most}`,
    })
    .transform(Number);
/** The URL of a PostgreSQL database. */
export const databaseUrl = z.string().refine((text) => /^postgres(ql)?:\/\//.test(text) && URL.canParse(text), {
  message: "must be a URL such as postgres://user:password@host:5432/database",
});
/** Texts, separated by commas. */
export const list = z.string().transform((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== ""),
);

/** Names of variables, none of Attune's own. */
export const variableNames = list.pipe(
  z.array(
    z.string().refine((name) => /^[A-Za-z_]\w*$/.test(name) && !/^(ATTUNE|DATABASE_URL$)/i.test(name), {
      message: "must be names of variables, separated by commas, and none of Attune's own",
    }),
  ),
);
/** Host names, in lower case. */
export const hostNames = list.pipe(
  z.array(
    z
      .string()
      .toLowerCase()
      .regex(/^(\[[\da-f:.]+\]|[\w.-]+)(:\d{1,5})?$/, "must be names such as attune.example.org, separated by commas"),
  ),
);
/** Origins, exactly as browsers write them. */
export const origins = list.pipe(
  z.array(
    z.string().refine((text) => /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text, {
      message: "must be origins such as https://app.example.org, exactly as browsers write them, separated by commas",
    }),
  ),
);
/** Refs of packs. */
export const packRefs = list.pipe(
  z.array(z.string().regex(/^[a-z][a-z0-9_-]+$/, "must be refs of packs such as my_pack, separated by commas")),
);
/** Host names, and origins of other schemes or with ports. `file://` is that of local repositories. */
export const packSources = list.pipe(
  z.array(
    z
      .string()
      .refine((text) => /^[a-z0-9.-]+$/i.test(text) || /^(https?:\/\/[a-z0-9.-]+(:\d+)?|file:\/\/)$/i.test(text), {
        message: "must be hosts such as github.com or origins such as http://127.0.0.1:8000, separated by commas",
      }),
  ),
);
/** The numbers of a user and its group. */
export const userNumbers = z
  .string()
  .regex(/^\d{1,9}:\d{1,9}$/, "must be the numbers of a user and a group such as 65534:65534")
  .transform((text) => text.split(":").map(Number));
/** Addresses and networks. */
export const networks = list.pipe(
  z.array(
    z.string().refine(isNetwork, { message: "must be addresses or networks such as 10.0.0.0/8, separated by commas" }),
  ),
);
/** Host names, addresses and networks. */
export const reachable = list.pipe(
  z.array(
    z.string().refine((text) => isNetwork(text) || /^(?=.*[a-z_])[\w.-]+$/i.test(text), {
      message: "must be host names, addresses or networks such as 10.0.0.0/8, separated by commas",
    }),
  ),
);

/** Pairs such as `a=b`, separated by commas; none occurs twice. */
const pairs = (value: RegExp, message: string) =>
  list
    .transform((parts) => parts.map((part) => part.split("=", 2)))
    .refine((found) => found.every(([name, text]) => /^[\w./-]{1,100}$/.test(name ?? "") && value.test(text ?? "")), {
      message,
    })
    .refine((found) => new Set(found.map(([name]) => name)).size === found.length, { message: "names one twice" })
    .transform((found) => found.map(([name = "", text = ""]) => [name, text] as const));

/** Labels of a worker. `host` is its own. */
export const labels = pairs(
  /^[\w./ :-]{1,200}$/,
  "must be names with values such as gpu=yes,zone=eu, separated by commas",
)
  .refine((found) => found.every(([name]) => name !== "host"), { message: "may not name host, which every worker has" })
  .transform((found): Record<string, string> => Object.fromEntries(found));

/** Numbers of slots by the ref of a runtime. */
export const runtimeSlots = pairs(
  /^[1-9]\d{0,3}$/,
  "must be refs of runtimes with numbers of slots such as core.action.python=2, separated by commas",
).transform((found): ReadonlyMap<string, number> => new Map(found.map(([ref, text]) => [ref, Number(text)])));

/** Returns where spans are exported to; null: nowhere. Throws StartError. The variables are those of the OpenTelemetry specification: a base, to which the path of traces is added, or their own address. */
export function readTraces(env: NodeJS.ProcessEnv): { url: string; service: string } | null {
  const [own, base] = [env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], env["OTEL_EXPORTER_OTLP_ENDPOINT"]];
  const [name, text] = own ? ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own] : ["OTEL_EXPORTER_OTLP_ENDPOINT", base];
  if (!text) return null;
  if (!/^https?:/.test(text) || !URL.canParse(text)) {
    throw new StartError(`${name} is wrong: must be a URL such as http://collector:4318; it is "${text}".`);
  }
  const url = own ? text : `${text.replace(/\/$/, "")}/v1/traces`;
  return { url, service: env["OTEL_SERVICE_NAME"] || "attune" };
}
