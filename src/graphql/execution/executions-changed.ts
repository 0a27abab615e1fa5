import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { changeFilter } from "../kit/change-filter.ts";
import { CollectionChange } from "../kit/enums.ts";
import { ExecutionStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, LiveMessage } from "../kit/live.ts";
import { defineLiveWhere, type LiveInput, liveFields } from "../kit/live-where.ts";
import { ExecutionStep, fixedFields } from "./execution-status.ts";

type Step = Change<"execution">;

/** The effect of a status transition, or of a deletion, on the collection that a filter defines. */
type Effect = "entered" | "updated" | "left";

type ExecutionsChange = Step & { effect: Effect };

const where = defineLiveWhere(
  "ExecutionsChangedWhere",
  "Defines the collection: all given conditions must hold. All fields except `status` never change after creation.",
  {
    channel: "execution",
    fields: {
      ...fixedFields,
      status: liveFields<"execution">().choice(
        ExecutionStatusFilter,
        "The status of the executions in the collection. An execution that moves to another status leaves it.",
        ({ content }) => content.toStatus,
      ),
    },
  },
);

/**
 * Returns a function that determines the effect of a transition on the collection. It depends only on the transition and the
 * filter, so that a replay sends the same messages as the live stream. Null: the execution is not in it before or after.
 */
function effectOf(input: LiveInput): (change: Step) => Effect | null {
  const status = { status: input?.["status"] };
  const holds = (read: (change: Step) => string | null) => changeFilter("execution", { status: { read } }, status);
  const before = holds(({ content }) => content.fromStatus);
  const after = holds(({ content }) => content.toStatus);
  return (change) => {
    const was = change.content.fromStatus !== null && before.matches(change);
    const is = change.activity !== "deleted" && after.matches(change);
    if (was) return is ? "updated" : "left";
    return is ? "entered" : null;
  };
}

function collectionFilter(input: LiveInput, hidden: ReadonlySet<string>): ChangeFilter {
  const fixed = changeFilter("execution", fixedFields, input, hidden);
  const effect = effectOf(input);
  return {
    ...fixed,
    matches: (change) => change.channel === "execution" && fixed.matches(change) && effect(change) !== null,
  };
}

const ExecutionsChangedMessage = builder.objectRef<ExecutionsChange>("ExecutionsChangedMessage").implement({
  description: "An execution entered a collection, changed within it, or left it.",
  interfaces: [LiveMessage, ExecutionStep],
  fields: (t) => ({
    change: t.expose("effect", { type: CollectionChange, description: "How the change affected the collection." }),
  }),
});

addLive<"execution">({
  subscription: "executionsChanged",
  type: ExecutionsChangedMessage,
  where: { ...where, filter: collectionFilter },
  which: "The executions in the collection",
  description:
    "The changes of a collection of executions. A client that reads the list first and applies each message has the current list. Each change is sent exactly once and in order per execution.",
  toMessage: (change, input): ExecutionsChange => ({ ...change, effect: effectOf(input)(change) ?? "updated" }),
});
