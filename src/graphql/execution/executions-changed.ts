import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { changeFilter } from "../kit/change-filter.ts";
import { CollectionChange } from "../kit/enums.ts";
import { ExecutionStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, LiveMessage } from "../kit/live.ts";
import { defineLiveWhere, type LiveInput, liveFields } from "../kit/live-where.ts";
import { ExecutionStep, fixedFields } from "./execution-status.ts";

type Step = Change<"execution">;

/** What a step meant for the collection that a filter describes. */
type Meaning = "entered" | "updated" | "left";

type ExecutionsChange = Step & { meaning: Meaning };

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
 * What the step meant for the collection: decided by the step and the filter alone, so that a replay sends what was sent live.
 * Null: the execution was not in it before, nor is it since.
 */
function meaningOf(input: LiveInput): (change: Step) => Meaning | null {
  const status = { status: input?.["status"] };
  const holds = (read: (change: Step) => string | null) => changeFilter("execution", { status: { read } }, status);
  const before = holds(({ content }) => content.fromStatus);
  const since = holds(({ content }) => content.toStatus);
  return (change) => {
    const was = change.content.fromStatus !== null && before.matches(change);
    const is = since.matches(change);
    if (was) return is ? "updated" : "left";
    return is ? "entered" : null;
  };
}

function collectionFilter(input: LiveInput): ChangeFilter {
  const fixed = changeFilter("execution", fixedFields, input);
  const meaning = meaningOf(input);
  return {
    ...fixed,
    matches: (change) => change.channel === "execution" && fixed.matches(change) && meaning(change) !== null,
  };
}

const ExecutionsChangedMessage = builder.objectRef<ExecutionsChange>("ExecutionsChangedMessage").implement({
  description: "An execution entered a collection, changed within it, or left it.",
  interfaces: [LiveMessage, ExecutionStep],
  fields: (t) => ({
    change: t.expose("meaning", { type: CollectionChange, description: "How the change affected the collection." }),
  }),
});

addLive<"execution">({
  subscription: "executionsChanged",
  type: ExecutionsChangedMessage,
  where: { ...where, filter: collectionFilter },
  which: "The executions in the collection",
  description:
    "The changes of a collection of executions. A client that reads the list first and applies each message has the current list. Each change is sent exactly once and in order per execution.",
  toMessage: (change, input): ExecutionsChange => ({ ...change, meaning: meaningOf(input)(change) ?? "updated" }),
});
