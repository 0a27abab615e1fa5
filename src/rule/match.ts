import type { Hold } from "../db/tables/event.ts";
import { checkParameters, unrunnable } from "../execution/action.ts";
import type { ExecutionError } from "../execution/finish.ts";
import { concealSecrets, type StoredSecret } from "../execution/secret.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import type { Meter } from "../lang/meter.ts";
import { type SecretValue, settingPointer } from "../lang/template.ts";
import { faultPoint } from "../lib/fault.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { storableJson } from "../schema/storable.ts";
import { replaceAt } from "../secrecy/find.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { createMask, minSecretLength } from "../secrecy/mask.ts";
import { hideSecrets } from "../secrecy/settings.ts";
import type { Authority } from "./authority.ts";
import { type Judgement, judgeBackstop } from "./judge.ts";
import { fitParameters } from "./parameters.ts";
import type { RuleIndex } from "./rule-index.ts";
import type { CompiledRule } from "./ruleset.ts";
import { inShares } from "./shares.ts";
import { eventVariable, type WindowKey } from "./window.ts";

/** An event to be evaluated. */
export interface PendingEvent {
  id: string;
  trigger: string | null;
  triggerRef: string;
  payload: Json;
  rule: string | null;
  traceTag: string;
  /** Its place in a distributed trace, as a header; null: it has none. */
  traceContext: string | null;
  generation: number;
  created: string;
  rulesRevision: string | null;
  now: string;
}

/** A rule whose conditions an event meets. */
export interface MatchedRule {
  rule: CompiledRule;
  event: PendingEvent;
}

/** A match with the parameters of its execution, or the reason why it has none. */
export interface Match extends MatchedRule {
  status: "processed" | "disabled";
  /** The resolved parameters without their secrets; null when no execution is requested. */
  config: JsonObject | null;
  secrets: StoredSecret[];
  error: ExecutionError | null;
}

/** The recorded evaluation of an event by a rule. */
export interface Evaluation {
  rule: Pick<CompiledRule, "id" | "ref" | "revision">;
  event: Pick<PendingEvent, "id">;
  matched: boolean;
  detail: CriterionOutcome[];
  /** What the window or the limit of the rule has still to decide; null: nothing. */
  hold: { held: Hold; key: WindowKey } | null;
}

/** Returns the rules by which the event is evaluated: those that its payload may concern, or those of `part` whatever it contains. */
export function rulesFor(
  event: PendingEvent,
  rules: RuleIndex<CompiledRule> | undefined,
  part: ReadonlySet<string> | null,
): CompiledRule[] {
  if (rules === undefined) return [];
  const named = part ?? (event.rule === null ? null : new Set([event.rule]));
  return named === null ? rules.find(event.payload) : [...named].flatMap((id) => rules.get(id) ?? []);
}

/** So many evaluations without a match are recorded of an event; all matches are, as their rules want. */
const maxMisses = 100;

/** What an event that is evaluated rule by rule has left before: recorded evaluations without a match, and whether a rule other than a backstop matched. */
export interface Earlier {
  misses: number;
  isMatched: boolean;
}

/** What the rules found of an event; `omitted` counts the evaluations that are left out. */
export interface Matched {
  matches: MatchedRule[];
  evaluations: Evaluation[];
  omitted: number;
}

/**
 * Evaluates the event against those of the rules that apply to it; no rule affects another, and together they take a bounded time. Between rules other
 * work gets its turn. The results are in the order of the rules' refs. A match that a window or a limit has to decide about
 * is an evaluation, and no match yet. The rules that are backstops are decided about last, and match only if no other one has.
 */
export async function matchEvent(
  event: PendingEvent,
  rules: readonly CompiledRule[],
  earlier: Earlier = { misses: 0, isMatched: false },
): Promise<Matched> {
  const found = createMatched(event, earlier.misses);
  const backstops: { rule: CompiledRule; judged: Judgement }[] = [];
  let { isMatched } = earlier;
  const judge = (rule: CompiledRule, meter: Meter) => {
    faultPoint("rule.evaluation", rule.ref);
    return rule.judge(event, meter);
  };
  await inShares(event.rule === null ? rules : rules.filter(({ id }) => id === event.rule), judge, (rule, judged) => {
    if (rule.backstop) backstops.push({ rule, judged });
    else {
      isMatched ||= judged.matched;
      found.add(rule, judged);
    }
  });
  for (const { rule, judged } of backstops) found.add(rule, judgeBackstop(judged, isMatched));
  return found.result();
}

/** Collects what follows from judgements of an event that has left so many recorded misses before. */
function createMatched(event: PendingEvent, earlierMisses: number) {
  const matches: MatchedRule[] = [];
  const evaluations: Evaluation[] = [];
  let misses = earlierMisses;
  return {
    add: (rule: CompiledRule, judged: Judgement) => {
      const { matched, criteria, key } = judged;
      const hold = key === null ? null : { held: "undecided" as const, key };
      if (matched && hold === null) matches.push({ rule, event });
      const recorded = isRecorded(rule, judged);
      if (!recorded && hold === null) return;
      if (!matched) misses += 1;
      const detail = recorded ? criteria : [];
      if (matched || misses <= maxMisses) evaluations.push({ rule, event, matched, detail, hold });
    },
    result: (): Matched => ({
      matches: matches.sort(byRef),
      evaluations: evaluations.sort(byRef),
      omitted: Math.max(0, misses - Math.max(maxMisses, earlierMisses)),
    }),
  };
}

const byRef = (a: { rule: { ref: string } }, b: { rule: { ref: string } }) => (a.rule.ref < b.rule.ref ? -1 : 1);

/** `near` records matches, misses with at least one criterion that held or whose conditions all did, and criteria that failed. */
function isRecorded(rule: CompiledRule, { matched, criteria, isKept }: Judgement): boolean {
  if (rule.recordEvaluations === "none") return false;
  if (rule.recordEvaluations === "all" || criteria.some(({ error }) => error !== null)) return true;
  return criteria.length > 0 && (matched || isKept || criteria.some(({ result }) => result));
}

/** Returns the parameters of the match's execution, or the reason why it has none. */
export function resolveMatch(
  { rule, event }: MatchedRule,
  { authority, keyring, meter }: { authority: Authority; keyring: Keyring; meter?: Meter },
): Match {
  const refused = (code: string, message: string, status: Match["status"] = "processed"): Match => ({
    ...{ rule, event, status, config: null, secrets: [] },
    error: { code, message },
  });
  const { action } = rule;
  if (action === null)
    return refused("ACTION_UNAVAILABLE", `The action "${rule.actionRef}" no longer exists.`, "disabled");
  const unavailable = unrunnable(action);
  if (unavailable !== null) return refused("ACTION_UNAVAILABLE", unavailable, "disabled");
  const forbidden =
    authority.refuseAction(rule, action.ref) ??
    (rule.readsEvents ? authority.refuseEvents(rule, event.triggerRef) : null) ??
    (rule.answerTrigger === null ? null : authority.refuseEvents(rule, rule.answerTrigger)) ??
    rule.keys.map((key) => authority.refuseKey(rule, key)).find((reason) => reason !== null);
  if (forbidden) return refused("FORBIDDEN", forbidden);
  const keys = new Map<string, string>();
  try {
    const readKey = (ref: string) => {
      const read = readSetting(rule, ref, keyring) ?? authority.readKey(ref);
      if (read.length < minSecretLength) {
        throw new Error(`"${ref}" has fewer than ${minSecretLength} characters, which cannot be masked`);
      }
      keys.set(ref, read);
      return read;
    };
    const { value, secrets } = rule.render(contextOf(rule, event), readKey, meter);
    // The parameters are an object, and rendering keeps keys.
    const config = checkParameters(
      action,
      fitParameters(action.paramSchema ?? {}, value as JsonObject),
      "action_params",
    );
    storableJson(withoutKeys(config, secrets), "action_params");
    const concealed = concealSecrets(keyring, action.paramSchema, config, { values: secrets, keys });
    return { rule, event, status: "processed", ...concealed, error: null };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const mask = createMask([...keys].map(([name, text]) => ({ name, text })));
    return refused("PARAMETERS_INVALID", mask?.text(message) ?? message);
  }
}

/** Takes the place of a key's value, which a preview never reads. */
const unread = "*".repeat(minSecretLength);

/** Returns the parameters with which a match would start its action, or why it would have none. Keys and secrets are shown by their names. */
export function previewParameters({ rule, event }: MatchedRule): {
  parameters: JsonObject | null;
  error: string | null;
} {
  const { action } = rule;
  if (action === null) return { parameters: null, error: `The action "${rule.actionRef}" no longer exists.` };
  try {
    const { value, secrets } = rule.render(contextOf(rule, event), () => unread);
    const schema = action.paramSchema ?? {};
    const config = checkParameters(action, fitParameters(schema, value as JsonObject), "actionParams"); // rendering keeps objects
    return { parameters: withoutKeys(hideSecrets(schema, config), secrets), error: null };
  } catch (error) {
    return { parameters: null, error: error instanceof Error ? error.message : String(error) };
  }
}

/** Returns the value of the rule's secret setting; null for the name of a key. */
function readSetting({ pack }: CompiledRule, name: string, keyring: Keyring): string | null {
  const pointer = settingPointer(name);
  if (pointer === null) return null;
  const sealed = pack.secrets[pointer];
  if (sealed === undefined) throw new Error(`the pack "${pack.ref}" has no value for its setting ${name}`);
  return keyring.open(sealed);
}

/** Returns the parameters as they are shown, because a limit of their size must not tell how long a key is. */
function withoutKeys(config: JsonObject, secrets: readonly SecretValue[]): JsonObject {
  if (secrets.length === 0) return config;
  const copy = structuredClone(config);
  replaceAt(copy, new Map(secrets.map(({ path, shown }) => [path, shown])));
  return copy;
}

/** Returns the variables of a rule's templates. */
function contextOf(rule: CompiledRule, event: PendingEvent): Record<string, unknown> {
  return {
    event: eventVariable(event),
    rule: { ref: rule.ref, revision: rule.revision },
    trigger: { ref: event.triggerRef },
    pack: { ref: rule.pack.ref, config: rule.pack.config },
    now: new Date(event.now),
  };
}
