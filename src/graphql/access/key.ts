import { Action } from "../catalog/action.ts";
import { Pack } from "../catalog/pack.ts";
import { Sensor } from "../catalog/sensor.ts";
import { builder } from "../kit/builder.ts";
import { OwnerType } from "../kit/enums.ts";
import { byEnum, byFlag, byOwnId, byText, byTime } from "../kit/filter.ts";
import { OwnerTypeFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { Identity } from "./identity.ts";

/** A secret or a configuration value; no field returns it. */
export const Key = builder.drizzleNode("keys", {
  name: "Key",
  description: "A secret or a configuration value. Only `revealKey` returns its value.",
  id: { column: (key) => key.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", {
      description: "Its unique name: `system.name`, or `<kind of owner>.<owner>.name`.",
    }),
    name: t.exposeString("name", { description: "Its name, unique within its owner." }),
    ownerType: t.expose("ownerType", { type: OwnerType, description: "The kind of its owner." }),
    owner: t.exposeString("owner", { description: "Its owner: `system`, a login or a ref." }),
    encrypted: t.exposeBoolean("encrypted", { description: "Whether its value is stored encrypted." }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    ownerIdentity: t.relation("ownerIdentity", { nullable: true, description: "The identity that it belongs to." }),
    ownerPack: t.relation("ownerPack", { nullable: true, description: "The pack that it belongs to." }),
    ownerAction: t.relation("ownerAction", { nullable: true, description: "The action that it belongs to." }),
    ownerSensor: t.relation("ownerSensor", { nullable: true, description: "The sensor that it belongs to." }),
  }),
});

const keys = defineList("Key", "keys", {
  ref: Key,
  where: {
    id: byOwnId("Key", "The key itself."),
    ref: byText("ref", "Its ref."),
    name: byText("name", "Its name."),
    ownerType: byEnum(OwnerTypeFilter, "ownerType", "The kind of its owner."),
    owner: byText("owner", "Its owner: `system`, a login or a ref."),
    encrypted: byFlag("encrypted", "Whether its value is stored encrypted."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", name: "Its name.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({ table: "keys", name: "Key", one: "key", many: "keys", ref: Key, list: keys, hasRef: true });

builder.drizzleObjectField(Pack, "keys", (t) =>
  t.relatedConnection("keys", keys.related("Its keys."), keys.connection),
);
builder.drizzleObjectField(Action, "keys", (t) =>
  t.relatedConnection("keys", keys.related("Its keys."), keys.connection),
);
builder.drizzleObjectField(Sensor, "keys", (t) =>
  t.relatedConnection("keys", keys.related("Its keys."), keys.connection),
);
builder.drizzleObjectField(Identity, "keys", (t) =>
  t.relatedConnection("keys", keys.related("Its keys."), keys.connection),
);
