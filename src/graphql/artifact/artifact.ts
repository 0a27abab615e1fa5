import { sql } from "drizzle-orm";
import { expiryOf, signedPath } from "../../artifact/link.ts";
import type { Json } from "../../lib/json.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { ArtifactRetention, ArtifactType, ArtifactVisibility, OwnerType } from "../kit/enums.ts";
import { byBigInt, byEnum, byId, byInt, byOwnId, byText, byTime } from "../kit/filter.ts";
import {
  ArtifactRetentionFilter,
  ArtifactTypeFilter,
  ArtifactVisibilityFilter,
  OwnerTypeFilter,
} from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

/** One version of the content of an artifact. */
const ArtifactVersion = builder.drizzleNode("artifactVersions", {
  name: "ArtifactVersion",
  description: "One version of an artifact's content; it never changes.",
  id: { column: (version) => version.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    version: t.exposeInt("version", { description: "Its number within the artifact, from 1." }),
    contentType: t.exposeString("contentType", { nullable: true, description: "Its media type." }),
    size: t.expose("size", { type: "BigInt", description: "Its size, in bytes." }),
    sha256: t.exposeString("sha256", { description: "The SHA-256 of its content, in hexadecimal digits." }),
    created: t.expose("created", { type: "DateTime", description: "When it was stored." }),
    artifact: t.relation("artifact", { nullable: true, description: "The artifact." }),
    execution: t.relation("execution", {
      nullable: true,
      description: "The execution that stored it; null if a user uploaded it or the execution was deleted.",
    }),
    downloadUrl: t.string({
      nullable: true,
      description:
        "A path on this server to GET its content from. Valid for 15 minutes, at most as long as your session; no other credential is needed.",
      resolve: ({ id }, _args, { services, session }) =>
        session === null
          ? null
          : signedPath(services.keyring, { id, token: session.tokenId, expires: expiryOf(Date.now()), upload: null }),
    }),
  }),
});

const artifactVersions = defineList("ArtifactVersion", "artifactVersions", {
  ref: ArtifactVersion,
  where: {
    version: byInt("version", "Its number within the artifact."),
    size: byBigInt("size", "Its size, in bytes."),
    sha256: byText("sha256", "The SHA-256 of its content."),
    execution: byId("Execution", "executionId", "The execution that stored it."),
    created: byTime("created", "When it was stored."),
  },
  order: { version: "Its number within the artifact.", created: "When it was stored." },
  defaultOrder: ["version", "desc"],
});

const objectOf = (data: Json | null) => (typeof data === "object" && data !== null && !Array.isArray(data) ? data : {});

/** A named object that actions or users store. */
export const Artifact = builder.drizzleNode("artifacts", {
  name: "Artifact",
  description: "A named object that actions or users store: a versioned file, a link, or a progress log.",
  id: { column: (artifact) => artifact.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its name, unique within its owner, such as `reports/july.csv`." }),
    scope: t.expose("scope", { type: OwnerType, description: "The kind of its owner." }),
    owner: t.exposeString("owner", {
      description: "The login or ref of its owner; empty if the system owns it.",
    }),
    type: t.expose("type", { type: ArtifactType, description: "The type." }),
    visibility: t.expose("visibility", { type: ArtifactVisibility, description: "Who may read it." }),
    name: t.exposeString("name", { nullable: true, description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    contentType: t.exposeString("contentType", {
      nullable: true,
      description: "The media type of its newest version.",
    }),
    size: t.expose("size", {
      type: "BigInt",
      nullable: true,
      description: "The size of its newest version, in bytes; null if it has none.",
    }),
    url: t.string({
      nullable: true,
      description: "Its target, for type URL.",
      select: { columns: { type: true, data: true } },
      resolve: ({ type, data }) => {
        const { url } = objectOf(data);
        return type === "url" && typeof url === "string" ? url : null;
      },
    }),
    progress: t.field({
      type: ["JSON"],
      nullable: true,
      description: "For type PROGRESS, its newest 100 entries, oldest first; each has `at`, `percent` and `message`.",
      select: { columns: { type: true, data: true } },
      resolve: ({ type, data }) =>
        type === "progress" ? (Array.isArray(data) ? data : []).filter((entry) => entry !== null) : null,
    }),
    retention: t.expose("retention", { type: ArtifactRetention, description: "The unit of `retentionLimit`." }),
    retentionLimit: t.exposeInt("retentionLimit", { description: "The number of versions, days, hours or minutes." }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    versions: t.relatedConnection(
      "versions",
      artifactVersions.related("Its versions, newest first."),
      artifactVersions.connection,
    ),
  }),
});

/** Lists of artifacts: filters, orders and connection. */
const artifacts = defineList("Artifact", "artifacts", {
  ref: Artifact,
  where: {
    id: byOwnId("Artifact", "The artifact itself."),
    ref: byText("ref", "Its ref."),
    scope: byEnum(OwnerTypeFilter, "scope", "The kind of its owner."),
    owner: byText("owner", "The login or ref of its owner."),
    type: byEnum(ArtifactTypeFilter, "type", "The type."),
    retention: byEnum(ArtifactRetentionFilter, "retention", "The unit of its retention limit."),
    visibility: byEnum(ArtifactVisibilityFilter, "visibility", "Who may read it."),
    name: byText("name", "Its display name."),
    execution: {
      ...byId("Execution", () => sql`of_artifact.execution`, "An execution that stored one of its versions."),
      some: (artifact, passes) =>
        sql`exists (select from attune.artifact_version of_artifact where of_artifact.artifact = ${artifact["id"]} and ${passes})`,
    },
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { created: "When it was created.", ref: "Its ref." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "artifacts",
  name: "Artifact",
  one: "artifact",
  many: "artifacts",
  ref: Artifact,
  list: artifacts,
  hasRef: false,
  isForAll: true, // public ones
});

builder.drizzleObjectField(Execution, "artifactVersions", (t) =>
  t.relatedConnection(
    "artifactVersions",
    artifactVersions.related("The artifact versions that it stored."),
    artifactVersions.connection,
  ),
);
