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
  idempotencyKey,
} from "../kit/mutation.ts";
import { Artifact } from "./artifact.ts";

const changeable = (t: Fields) => ({
  name: t.string({ description: "Its display name, at most 200 characters." }),
  description: t.string({ description: "What it is for." }),
  visibility: t.field({ type: ArtifactVisibility, description: "Who may read it; PRIVATE unless said otherwise." }),
  retention: t.field({
    type: ArtifactRetention,
    description: "What `retentionLimit` counts; VERSIONS unless said otherwise.",
  }),
  retentionLimit: t.int({ description: "How many versions, days, hours or minutes; 1 unless said otherwise." }),
  url: t.string({ description: "Where it leads, http or https; for type URL, and only there." }),
});

const place = (t: Fields) => ({
  ref: t.string({
    required: true,
    description:
      'Its name among its owner\'s, such as `reports/july.csv`: names joined by "/", at most 400 characters.',
  }),
  scope: t.field({ type: OwnerType, description: "What kind of thing it belongs to; SYSTEM unless said otherwise." }),
  owner: t.string({ description: "The login or ref of what it belongs to; left out for the system's." }),
});

const artifactId = (t: Fields) => t.id({ required: true, description: "The artifact's id." });

const CreateArtifactInput = builder.inputType("CreateArtifactInput", {
  description: "An artifact to make.",
  fields: (t) => ({
    ...place(t),
    type: t.field({ type: ArtifactType, required: true, description: "What it is." }),
    contentType: t.string({ description: 'The media type of its contents, such as "text/csv".' }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
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
  description: "A content that is to become the next version of an artifact.",
  fields: (t) => ({
    ...place(t),
    type: t.field({ type: ArtifactType, required: true, description: "What the artifact is, be it new or not." }),
    contentType: t.string({
      required: true,
      description: "The content's media type: the request must send the same as Content-Type.",
    }),
    size: t.field({ type: "BigInt", required: true, description: "How many bytes it has." }),
    sha256: t.string({ required: true, description: "The SHA-256 of its bytes, in lower case hexadecimal digits." }),
  }),
});

const AppendArtifactProgressInput = builder.inputType("AppendArtifactProgressInput", {
  description: "How far something is.",
  fields: (t) => ({
    id: artifactId(t),
    percent: t.float({ description: "How much of it is done, from 0 to 100." }),
    message: t.string({ description: "What is being done, at most 500 characters." }),
  }),
});

const about = { table: "artifacts", ref: Artifact } as const;

addRowMutation({
  ...about,
  name: "createArtifact",
  may: "artifact:create",
  description: "Makes an artifact. Its versions are uploaded with `createArtifactUpload`.",
  input: CreateArtifactInput,
  inputDescription: "The artifact.",
  payload: ["artifact", "The new artifact."],
  run: createArtifact,
});

addRowMutation({
  ...about,
  name: "updateArtifact",
  may: "artifact:update",
  description:
    "Changes an artifact. Fields that are left out stay as they are; null empties a field that can be empty.",
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
  description: "Where to send a content, once.",
  fields: (t) => ({
    url: t.exposeString("path", {
      description:
        "A path on this server. PUT exactly the announced bytes there, with the announced Content-Type and no other credential.",
    }),
    expiresAt: t.expose("expiresAt", {
      type: "DateTime",
      description: "When it expires; not later than your session.",
    }),
  }),
});
addRowField(ArtifactUpload, "artifact", {
  table: "artifacts",
  ref: Artifact,
  description: "The artifact that gets the version.",
});

addMutation({
  name: "createArtifactUpload",
  // The verb asks for the one that applies: the artifact may exist or not.
  may: ["artifact:update", "artifact:create"],
  description:
    "Prepares an upload: creates the artifact unless there is one with that ref, and returns where to send the content within 15 minutes.",
  input: CreateArtifactUploadInput,
  inputDescription: "The content.",
  type: ArtifactUpload,
  payload: ["upload", "Where to send the content."],
  run: (tx, session, input) => {
    const size = Number(input.size);
    if (!Number.isSafeInteger(size)) throw invalid("size", "must be a number of bytes");
    return createUpload(tx, session, { ...input, size });
  },
});
