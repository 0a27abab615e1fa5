import type { Session } from "../../access/session.ts";
import type { KeptPack } from "../../catalog/keep.ts";
import { type Reloaded, readChanged, reloadPack } from "../../catalog/reload.ts";
import type { Tx } from "../../db/tx.ts";
import { packRules } from "../../rule/check.ts";
import { builder } from "../kit/builder.ts";
import { addMutation, addRowField } from "../kit/mutation.ts";
import { Pack } from "./pack.ts";

const ReloadPackPayload = builder.objectRef<Reloaded>("ReloadPackPayload").implement({
  description: "The mutation succeeded.",
  fields: (t) => ({
    changed: t.exposeBoolean("changed", {
      description: "Whether the files differ from those of the release that was active.",
    }),
    directory: t.exposeString("directory", { description: "The directory that they were read from." }),
  }),
});
addRowField(ReloadPackPayload, "pack", { table: "packs", ref: Pack, description: "The pack as it is now." });

addMutation({
  name: "reloadPack",
  may: "pack:install",
  description:
    "Loads the files of a pack again that the responding process loads from one of ATTUNE__PACKS__DIRS at its start: they are checked, and become the active release at once. Files with a fault change nothing: the refusal names each with file, line and column. What runs keeps the release that it began with.",
  input: builder.inputType("ReloadPackInput", {
    description: "The pack to load again.",
    fields: (t) => ({ ref: t.string({ required: true, description: "The pack's ref." }) }),
  }),
  inputDescription: "The pack.",
  type: ReloadPackPayload,
  payload: null,
  prepare: ({ services, session, local }, { ref }): Promise<KeptPack> => readChanged(services, session, { ref, local }),
  run: (tx: Tx, _session: Session, kept: KeptPack) => reloadPack(tx, kept, packRules),
});
