import { appendProgress, createArtifact, deleteArtifact, updateArtifact } from "../../artifact/artifact.ts";
import { createUpload, type PreparedUpload } from "../../artifact/upload.ts";
import { invalid } from "../../errors.ts";
import { builder } from "../kit/builder.ts";
import { ArtifactRetention, ArtifactType, ArtifactVisibility, OwnerType } from "../kit/enums.ts";
import { readId } from "../kit/ids.ts";
import {
  addDeletionById,
  addMutation,
  addRowField,
  addRowMutation,
  expectedUpdated,
  type Fields,
  idempotencyKeyField,
} from "../kit/mutation.ts";
import { Artifact } from "./artifact.ts";

const changeable = (t: Fields) => ({
  name: t.string({ description: "Its display name, at most 200 characters." }),
  description: t.string({ description: "What it is for." }),
  visibility: t.field({ type: ArtifactVisibility, description: "Who may read it; PRIVATE by default." }),
  retention: t.field({
    type: ArtifactRetention,
    description: "The unit of `retentionLimit`; VERSIONS by default.",
  }),
  retentionLimit: t.int({ description: "The number of versions, days, hours or minutes; 1 by default." }),
  url: t.string({ description: "Its target, an http or https URL; only for type URL." }),
});

const place = (t: Fields) => ({
  ref: t.string({
    required: true,
    description:
      'Its name, unique within its owner, such as `reports/july.csv`: names joined by "/", at most 400 characters.',
  }),
  scope: t.field({ type: OwnerType, description: "The kind of its owner; SYSTEM by default." }),
  owner: t.string({ description: "The login or ref of its owner; leave it out for SYSTEM." }),
});

const artifactId = (t: Fields) => t.id({ required: true, description: "The artifact's id." });

const CreateArtifactInput = builder.inputType("CreateArtifactInput", {
  description: "The artifact to create.",
  fields: (t) => ({
    ...place(t),
    type: t.field({ type: ArtifactType, required: true, description: "The type." }),
    contentType: t.string({ description: 'The media type of its content, such as "text/csv".' }),
    ...changeable(t),
    idempotencyKey: idempotencyKeyField(t),
  }),
});

const UpdateArtifactInput = builder.inputType("UpdateArtifactInput", {
  description: "The changes to an artifact.",
  fields: (t) => ({
    id: artifactId(t),
    expectedUpdated: expectedUpdated(t),
    ...changeable(t),
  }),
});

const CreateArtifactUploadInput = builder.inputType("CreateArtifactUploadInput", {
  description: "Content to upload as the next version of an artifact.",
  fields: (t) => ({
    ...place(t),
    type: t.field({
      type: ArtifactType,
      required: true,
      description: "The type of the artifact, whether it exists or is created.",
    }),
    contentType: t.string({
      required: true,
      description: "The content's media type. The upload must send it as Content-Type.",
    }),
    size: t.field({ type: "BigInt", required: true, description: "Its size, in bytes." }),
    sha256: t.string({ required: true, description: "The SHA-256 of the content, in lower-case hexadecimal digits." }),
  }),
});

const AppendArtifactProgressInput = builder.inputType("AppendArtifactProgressInput", {
  description: "A progress entry.",
  fields: (t) => ({
    id: artifactId(t),
    percent: t.float({ description: "The percentage done, from 0 to 100." }),
    message: t.string({ description: "The current step, at most 500 characters." }),
  }),
});

const about = { table: "artifacts", ref: Artifact } as const;

addRowMutation({
  ...about,
  name: "createArtifact",
  may: "artifact:create",
  description: "Creates an artifact. Upload its versions with `createArtifactUpload`.",
  input: CreateArtifactInput,
  inputDescription: "The artifact.",
  payload: ["artifact", "The new artifact."],
  run: createArtifact,
});

addRowMutation({
  ...about,
  name: "updateArtifact",
  may: "artifact:update",
  description: "Changes an artifact. Omitted fields keep their values; null clears a field that can be null.",
  input: UpdateArtifactInput,
  inputDescription: "The artifact and its changes.",
  payload: ["artifact", "The artifact as it is now."],
  run: (tx, session, { id, expectedUpdated: expected, ...patch }) =>
    updateArtifact(tx, session, { id: readId("Artifact", id, "id"), expectedUpdated: expected, patch }),
});

addRowMutation({
  ...about,
  name: "appendArtifactProgress",
  may: "artifact:update",
  description: "Adds an entry to an artifact of type PROGRESS; the newest 100 are kept.",
  input: AppendArtifactProgressInput,
  inputDescription: "The artifact and the entry.",
  payload: ["artifact", "The artifact as it is now."],
  run: (tx, session, { id, percent = null, message = null }) =>
    appendProgress(tx, session, { id: readId("Artifact", id, "id"), percent, message }),
});

addDeletionById(
  {
    kind: "Artifact",
    noun: "artifact",
    may: "artifact:delete",
    description: "Deletes an artifact and all its versions.",
  },
  "ref",
  deleteArtifact,
);

const ArtifactUpload = builder.objectRef<PreparedUpload>("ArtifactUpload").implement({
  description: "A URL for one upload.",
  fields: (t) => ({
    url: t.exposeString("path", {
      description:
        "A path on this server. PUT exactly the declared bytes there, with the declared Content-Type; no other credential is needed.",
    }),
    expiresAt: t.expose("expiresAt", {
      type: "DateTime",
      description: "When it expires; no later than your session.",
    }),
  }),
});
addRowField(ArtifactUpload, "artifact", {
  table: "artifacts",
  ref: Artifact,
  description: "The artifact that the version is added to.",
});

addMutation({
  name: "createArtifactUpload",
  // The verb checks the one that applies: the artifact may exist or not.
  may: ["artifact:update", "artifact:create"],
  description:
    "Prepares an upload: creates the artifact if none with this ref exists, and returns a URL to send the content to within 15 minutes.",
  input: CreateArtifactUploadInput,
  inputDescription: "The content to upload.",
  type: ArtifactUpload,
  payload: ["upload", "The upload."],
  run: (tx, session, input) => {
    const size = Number(input.size);
    if (!Number.isSafeInteger(size)) throw invalid("size", "must be a number of bytes");
    return createUpload(tx, session, { ...input, size });
  },
});
