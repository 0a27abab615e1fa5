import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { builder } from "../kit/builder.ts";
import { changeFilter } from "../kit/change-filter.ts";
import { CollectionChange } from "../kit/enums.ts";
import { ExecutionStatusFilter } from "../kit/filter-inputs.ts";
import { addLive, defineLiveWhere, LiveMessage, telling } from "../kit/live.ts";
import { ExecutionStep, fixedFields, stepOf } from "./execution-status.ts";

type Input = Record<string, unknown> | null | undefined;

/** What a step meant for the collection that a filter describes. */
type Meaning = "entered" | "updated" | "left";

interface ExecutionsChange extends Change {
  meaning: Meaning;
}

const statusField = {
  type: ExecutionStatusFilter,
  description: "The status that executions of the collection have; what moves to another leaves it.",
} as const;

const where = defineLiveWhere(
  "ExecutionsChangedWhere",
  "Which executions are in the collection: all that is given must hold. Each but `status` never changes after creation.",
  {
    channel: "execution",
    fields: { ...fixedFields, status: { ...statusField, read: telling("toStatus") } },
  },
);

/**
 * What the step meant for the collection: decided by the step and the filter alone, so that a replay says what was said live.
 * Null: the execution was not in it before, nor is it since.
 */
function meaningOf(input: Input): (change: Change) => Meaning | null {
  const status = { status: input?.["status"] };
  const before = changeFilter(null, { status: { read: telling("fromStatus") } }, status);
  const since = changeFilter(null, { status: { read: telling("toStatus") } }, status);
  return (change) => {
    const was = stepOf(change).fromStatus !== null && before.matches(change);
    const is = since.matches(change);
    if (was) return is ? "updated" : "left";
    return is ? "entered" : null;
  };
}

function collectionFilter(input: Input): ChangeFilter {
  const fixed = changeFilter("execution", fixedFields, input);
  const meaning = meaningOf(input);
  return { ...fixed, matches: (change) => fixed.matches(change) && meaning(change) !== null };
}

const ExecutionsChangedMessage = builder.objectRef<ExecutionsChange>("ExecutionsChangedMessage").implement({
  description: "An execution came into a collection, moved within it, or left it.",
  interfaces: [LiveMessage, ExecutionStep],
  fields: (t) => ({
    change: t.expose("meaning", { type: CollectionChange, description: "What it meant for the collection." }),
  }),
});

addLive({
  subscription: "executionsChanged",
  query: "executionsChanges",
  type: ExecutionsChangedMessage,
  where: { ...where, filter: collectionFilter },
  which: "Which executions are in the collection",
  description:
    "How a collection of executions changes: who keeps a list that was read before, and applies what is told, has the list as it is. Each change exactly once and each execution's in order.",
  tell: (change, input): ExecutionsChange => ({ ...change, meaning: meaningOf(input)(change) ?? "updated" }),
});
