import { z } from "zod";
import { description } from "../schema/fields.ts";

/** The types of artifacts. */
export const artifactTypes = [
  "file_binary",
  "file_datatable",
  "file_image",
  "file_text",
  "other",
  "progress",
  "url",
] as const;
export type ArtifactType = (typeof artifactTypes)[number];
export const artifactScopes = ["system", "identity", "pack", "action", "sensor"] as const;
export type ArtifactScope = (typeof artifactScopes)[number];
export const artifactRetentions = ["versions", "days", "hours", "minutes"] as const;
export const artifactVisibilities = ["public", "private"] as const;

/** Types whose artifacts have no versions: their content is in the row. */
export const withoutVersions: readonly ArtifactType[] = ["progress", "url"];

const unprintable = /[\p{Cc}\p{Zl}\p{Zp}]/u;
const printable = (text: string) => text.isWellFormed() && !unprintable.test(text);

/** A name such as `reports/july.csv` or `my_pack.my_action/out.txt`: names joined by `/`, none of them empty, `.` or `..`. */
export const artifactRef = z
  .string()
  .max(400)
  .refine(printable, "must be printable text in one line")
  .refine(
    (ref) => ref.split("/").every((part) => part.trim() !== "" && part !== "." && part !== ".."),
    'must be names joined by "/", none of them empty, "." or ".."',
  );

/** A media type, as allowed in a header (RFC 9110, 8.3.1). */
export const contentType = z
  .string()
  .max(200)
  .regex(
    /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+( ?; ?[\w-]+=[\w.+-]+)*$/,
    'must be a media type such as "text/plain; charset=utf-8"',
  );

export const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in 64 lower case hexadecimal digits");

const webUrl = z
  .string()
  .max(2000)
  .refine((text) => /^https?:\/\//.test(text) && URL.canParse(text) && printable(text), "must be an http or https URL");
const text = (most: number) => z.string().max(most).refine(printable, "must be printable text in one line");

/** The fields of an artifact that users set. A missing field has its default or, in an update, is unchanged. */
export const artifactFields = z
  .object({
    name: text(200).nullable(),
    description: description.nullable(),
    visibility: z.enum(artifactVisibilities),
    retention: z.enum(artifactRetentions),
    retentionLimit: z.int().min(1).max(100_000),
    url: webUrl,
  })
  .partial();
export type ArtifactFields = z.infer<typeof artifactFields>;
/** The type with nullable fields, as in GraphQL inputs. */
export type Nullable<T> = { [K in keyof T]: T[K] | null };

/** A progress entry, with a percentage, a message or both. */
export const progressEntry = z
  .object({ percent: z.number().min(0).max(100).nullable(), message: text(500).nullable() })
  .refine(({ percent, message }) => percent !== null || message !== null, "give `percent`, `message` or both");
export type ProgressEntry = z.infer<typeof progressEntry>;
