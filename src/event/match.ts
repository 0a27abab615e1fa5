import type { ExecutionError } from "../execution/finish.ts";
import { checkParameters, unrunnable } from "../execution/request.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import type { Json, JsonObject } from "../lang/json.ts";
import { storableJson } from "../lang/storable.ts";
import { globalId } from "../lib/global-id.ts";
import type { CompiledRule } from "./ruleset.ts";

/** An event as rules see it. */
export interface PendingEvent {
  id: string;
  trigger: string | null;
  triggerRef: string;
  payload: Json;
  rule: string | null;
  traceTag: string;
  generation: number;
  created: string;
  rulesRevision: string | null;
  now: string;
}

/** What one rule makes of one event. */
export interface Match {
  rule: CompiledRule;
  event: PendingEvent;
  status: "processed" | "disabled";
  /** The resolved parameters; null when there is no execution to be made. */
  config: JsonObject | null;
  error: ExecutionError | null;
}

/** One rule's judgement, to be recorded. */
export interface Evaluation {
  rule: CompiledRule;
  event: PendingEvent;
  matched: boolean;
  detail: CriterionOutcome[];
}

/** Evaluates every rule that concerns the event. Pure: no side effects, and no rule can stop another. */
export function matchEvent(
  event: PendingEvent,
  rules: readonly CompiledRule[],
): { matches: Match[]; evaluations: Evaluation[] } {
  const matches: Match[] = [];
  const evaluations: Evaluation[] = [];
  for (const rule of rules) {
    if (event.rule !== null && event.rule !== rule.id) continue;
    const { matched, criteria } = rule.evaluate(event.payload);
    if (isRecorded(rule, matched, criteria)) evaluations.push({ rule, event, matched, detail: criteria });
    if (matched) matches.push(resolve(rule, event));
  }
  return { matches, evaluations };
}

/** `near`: a match, or a miss of which at least one criterion held, or one that could not be asked. */
function isRecorded(rule: CompiledRule, matched: boolean, criteria: CriterionOutcome[]): boolean {
  if (rule.recordEvaluations === "none") return false;
  if (rule.recordEvaluations === "all" || criteria.some(({ error }) => error !== null)) return true;
  return criteria.length > 0 && (matched || criteria.some(({ result }) => result));
}

function resolve(rule: CompiledRule, event: PendingEvent): Match {
  const gone = rule.action ? unrunnable(rule.action) : `The action "${rule.actionRef}" is gone.`;
  if (gone !== null || rule.action === null) {
    return {
      rule,
      event,
      status: "disabled",
      config: null,
      error: { code: "ACTION_UNAVAILABLE", message: gone ?? "" },
    };
  }
  try {
    const rendered = rule.render({
      event: {
        id: globalId("Event", event.id),
        payload: event.payload,
        trigger: event.triggerRef,
        trace_tag: event.traceTag,
        created: event.created,
      },
      rule: { ref: rule.ref, revision: rule.revision },
      trigger: { ref: event.triggerRef },
      pack: rule.pack,
      now: new Date(event.now),
    });
    const config = checkParameters(rule.action, rendered, "action_params");
    storableJson(config, "action_params");
    return { rule, event, status: "processed", config, error: null };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { rule, event, status: "processed", config: null, error: { code: "PARAMETERS_INVALID", message } };
  }
}
