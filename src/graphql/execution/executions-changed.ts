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
  "Which executions are in the collection: all that is given must hold. Each but `status` never changes after creation.",
  {
    channel: "execution",
    fields: {
      ...fixedFields,
      status: liveFields<"execution">().choice(
        ExecutionStatusFilter,
        "The status that executions of the collection have; an execution that moves to another one leaves it.",
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
  description: "An execution came into a collection, moved within it, or left it.",
  interfaces: [LiveMessage, ExecutionStep],
  fields: (t) => ({
    change: t.expose("meaning", { type: CollectionChange, description: "What it meant for the collection." }),
  }),
});

addLive<"execution">({
  subscription: "executionsChanged",
  type: ExecutionsChangedMessage,
  where: { ...where, filter: collectionFilter },
  which: "Which executions are in the collection",
  description:
    "How a collection of executions changes: a client that read the list before and applies each message has the list as it is. Each change exactly once and each execution's in order.",
  toMessage: (change, input): ExecutionsChange => ({ ...change, meaning: meaningOf(input)(change) ?? "updated" }),
});
