import { sql } from "drizzle-orm";
import { expiryOf, signedPath } from "../../artifact/link.ts";
import type { Json } from "../../lib/json.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { ArtifactRetention, ArtifactType, ArtifactVisibility, OwnerType } from "../kit/enums.ts";
import { byBigInt, byEnum, byId, byInt, byText, byTime } from "../kit/filter.ts";
import { ArtifactTypeFilter, ArtifactVisibilityFilter, OwnerTypeFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

/** One content of an artifact. */
const ArtifactVersion = builder.drizzleNode("artifactVersions", {
  name: "ArtifactVersion",
  description: "One content of an artifact; never changed.",
  id: { column: (version) => version.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    version: t.exposeInt("version", { description: "Its number within the artifact, from 1." }),
    contentType: t.exposeString("contentType", { nullable: true, description: "Its media type." }),
    size: t.expose("size", { type: "BigInt", description: "How many bytes it has." }),
    sha256: t.exposeString("sha256", { description: "The SHA-256 of its bytes, in hexadecimal digits." }),
    created: t.expose("created", { type: "DateTime", description: "When it was stored." }),
    artifact: t.relation("artifact", { nullable: true, description: "The artifact." }),
    execution: t.relation("execution", {
      nullable: true,
      description: "The execution that left it; null when a person sent it, or the execution was deleted.",
    }),
    downloadUrl: t.string({
      nullable: true,
      description:
        "Where its bytes are, as a path on this server: GET it within 15 minutes, without any other credential. It ends with your session.",
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
    size: byBigInt("size", "How many bytes it has."),
    sha256: byText("sha256", "The SHA-256 of its bytes."),
    execution: byId("Execution", "executionId", "The execution that left it."),
    created: byTime("created", "When it was stored."),
  },
  order: { version: "Its number within the artifact.", created: "When it was stored." },
  defaultOrder: ["version", "desc"],
});

const objectOf = (data: Json | null) => (typeof data === "object" && data !== null && !Array.isArray(data) ? data : {});

/** A named thing that actions or people keep. */
export const Artifact = builder.drizzleNode("artifacts", {
  name: "Artifact",
  description: "A named thing that actions or people keep: a file in versions, a table, a link, a progress.",
  id: { column: (artifact) => artifact.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its name among its owner's, such as `reports/july.csv`." }),
    scope: t.expose("scope", { type: OwnerType, description: "What kind of thing it belongs to." }),
    owner: t.exposeString("owner", {
      description: "The login or ref of what it belongs to; empty for the system's.",
    }),
    type: t.expose("type", { type: ArtifactType, description: "What it is." }),
    visibility: t.expose("visibility", { type: ArtifactVisibility, description: "Who may read it." }),
    name: t.exposeString("name", { nullable: true, description: "Its name for people." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    contentType: t.exposeString("contentType", {
      nullable: true,
      description: "The media type of its newest version.",
    }),
    size: t.expose("size", {
      type: "BigInt",
      nullable: true,
      description: "How many bytes its newest version has; null before the first.",
    }),
    url: t.string({
      nullable: true,
      description: "Where it leads, when it is of type URL.",
      select: { columns: { type: true, data: true } },
      resolve: ({ type, data }) => {
        const { url } = objectOf(data);
        return type === "url" && typeof url === "string" ? url : null;
      },
    }),
    progress: t.field({
      type: ["JSON"],
      nullable: true,
      description:
        "When it is of type PROGRESS, the newest 100 of its entries, oldest first: each has `at`, `percent` and `message`.",
      select: { columns: { type: true, data: true } },
      resolve: ({ type, data }) =>
        type === "progress" ? (Array.isArray(data) ? data : []).filter((entry) => entry !== null) : null,
    }),
    retention: t.expose("retention", { type: ArtifactRetention, description: "What `retentionLimit` counts." }),
    retentionLimit: t.exposeInt("retentionLimit", { description: "How many versions, days, hours or minutes." }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed; give it as `expectedUpdated` to change only what you have read.",
    }),
    versions: t.relatedConnection(
      "versions",
      artifactVersions.related("Its versions, newest first."),
      artifactVersions.connection,
    ),
  }),
});

/** Artifacts, wherever they are listed. */
const artifacts = defineList("Artifact", "artifacts", {
  ref: Artifact,
  where: {
    id: byId("Artifact", "id", "The artifact itself."),
    ref: byText("ref", "Its ref."),
    scope: byEnum(OwnerTypeFilter, "scope", "What kind of thing it belongs to."),
    owner: byText("owner", "The login or ref of what it belongs to."),
    type: byEnum(ArtifactTypeFilter, "type", "What it is."),
    visibility: byEnum(ArtifactVisibilityFilter, "visibility", "Who may read it."),
    name: byText("name", "Its name for people."),
    execution: {
      ...byId("Execution", () => sql`of_artifact.execution`, "An execution that left one of its versions."),
      some: (artifact, passes) =>
        sql`exists (select from attune.artifact_version of_artifact where of_artifact.artifact = ${artifact["id"]} and ${passes})`,
    },
    created: byTime("created", "When it was made."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { created: "When it was made.", ref: "Its ref." },
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
    artifactVersions.related("What it left behind: versions of artifacts."),
    artifactVersions.connection,
  ),
);
