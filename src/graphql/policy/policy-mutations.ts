import { createPolicy, deletePolicy, setPolicyEnabled, updatePolicy } from "../../policy/policy.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { PolicyMethod } from "../kit/enums.ts";
import { Policy } from "./policy.ts";

addEntityMutations({
  kind: "Policy",
  noun: "policy",
  resource: "policy",
  table: "policies",
  ref: Policy,
  fields: (t) => ({
    name: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it is for." }),
    enabled: t.boolean({ description: "Whether it applies; true by default." }),
    priority: t.int({
      description: "Of several policies for one execution, the highest priority applies; 0 by default.",
    }),
    action: t.string({ description: "The ref of the only action that it applies to. Excludes `pack`." }),
    pack: t.string({
      description: "The ref of the pack whose actions it applies to. Without either it applies to all actions.",
    }),
    parameters: t.stringList({
      description:
        "At most 10 paths in the action's parameters, like `host`, `target.host` or `/x.y`. Each combination of their values has limits of its own; a missing value counts as null.",
    }),
    method: t.field({
      type: PolicyMethod,
      description: "What happens to an execution above a limit. Requires a threshold; without one it waits.",
    }),
    threshold: t.int({ description: "How many executions may run at once. Requires `method`. Null: no limit." }),
    rateMax: t.int({
      description: "How many executions may start within the window. Requires a window. Null: no limit.",
    }),
    rateWindowSeconds: t.int({ description: "The window, in seconds." }),
    tags: t.stringList({ description: "Keywords to find it by." }),
  }),
  create: {
    description:
      "Creates a policy, which needs a threshold, a rate, or both. What runs already counts for its limits. You need a grant that covers everything it applies to.",
    verb: createPolicy,
  },
  update: {
    description:
      "Changes a policy. What waits is admitted as the new limits allow; what runs keeps running. You need a grant that covers everything it applies to, before and after.",
    verb: updatePolicy,
  },
  enable: {
    on: "it applies.",
    off: "it does not apply.",
    verb: setPolicyEnabled,
  },
  delete: { description: "Deletes a policy. What waits for its slots is admitted without it.", verb: deletePolicy },
});
