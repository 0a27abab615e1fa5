import { builder } from "./builder.ts";
import { scopeMutations } from "./mutations.ts";
import "./action.ts";
import "./enforcement.ts";
import "./event.ts";
import "./execution.ts";
import "./execution-log.ts";
import "./execution-mutations.ts";
import "./execution-status.ts";
import "./node.ts";
import "./notification.ts";
import "./pack.ts";
import "./rule.ts";
import "./rule-mutations.ts";
import "./runtime.ts";
import "./trigger.ts";
import "./viewer.ts";
import "./worker.ts";

/** The API's schema; each file of a subject adds its part to the builder. */
export const schema = scopeMutations(builder.toSchema());
