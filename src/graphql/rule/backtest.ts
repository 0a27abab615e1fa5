import { UnauthenticatedError } from "../../errors.ts";
import { globalId } from "../../lib/global-id.ts";
import {
  type BacktestDifference,
  type BacktestReport,
  backtestRule,
  readPosition,
  writePosition,
} from "../../rule/backtest.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { upperCased } from "../kit/enums.ts";
import { LiveMessage, pollingName } from "../kit/live.ts";
import { messages, unwrap } from "../kit/stream.ts";
import { toTried, triedFields } from "./draft.ts";

const subscription = "ruleBacktest";
const query = pollingName(subscription);
const maxPolled = 20;

const RuleBacktestInput = builder.inputType("RuleBacktestInput", {
  description:
    "A rule, with other contents than are stored where they are given, or a draft, and the time of the events.",
  fields: (t) => ({
    ...triedFields(t),
    from: t.field({ type: "DateTime", description: "Events since then; by default since a day before `to`." }),
    to: t.field({ type: "DateTime", description: "Events before then; by default before now." }),
    sample: t.float({
      description:
        "The share of the events to evaluate, above 0 and at most 1, by default 1. The same share takes the same events.",
    }),
  }),
});

const DifferenceKind = upperCased("RuleBacktestDifferenceKind", "How a rule would decide otherwise.", {
  gained: "The rule matches with the given contents, and does not match as it is stored.",
  lost: "The rule matches as it is stored, and does not match with the given contents.",
} satisfies Record<BacktestDifference["kind"], string>);

const Difference = builder.objectRef<BacktestDifference>("RuleBacktestDifference").implement({
  description: "An event for which a rule would decide otherwise.",
  fields: (t) => ({
    event: t.id({ resolve: ({ event }) => globalId("Event", event), description: "The event's id." }),
    kind: t.expose("kind", { type: DifferenceKind, description: "How it would decide." }),
    parameters: t.expose("parameters", {
      type: "JSONObject",
      nullable: true,
      description: "The parameters that its action would start with; keys are shown as `[secret:<ref>]`.",
    }),
    parametersError: t.exposeString("parametersError", {
      nullable: true,
      description: "Why its action would not start although the rule matches.",
    }),
  }),
});

interface Message extends BacktestReport {
  cursor: string;
  at: Date;
}

const toMessage = (report: BacktestReport): Message => ({
  ...report,
  cursor: writePosition(report.position),
  at: new Date(),
});

const RuleBacktestMessage = builder.objectRef<Message>("RuleBacktestMessage").implement({
  description: "What a back-test of a rule has found so far. All numbers are totals since its beginning.",
  interfaces: [LiveMessage],
  fields: (t) => {
    const count = (name: keyof BacktestReport["position"], description: string) =>
      t.int({ resolve: ({ position }) => Number(position[name]), description });
    return {
      complete: t.exposeBoolean("isComplete", { description: "Whether this is the last message." }),
      truncated: t.exposeBoolean("isTruncated", {
        description: "Whether events were left out, because a back-test evaluates at most 100,000.",
      }),
      upTo: t.expose("upTo", {
        type: "DateTime",
        nullable: true,
        description: "When the last evaluated event was created; null when there was none.",
      }),
      events: count("events", "How many events were evaluated."),
      matches: count("matches", "How many of them the rule matches with the given contents."),
      errors: count("errors", "For how many of them a condition cannot be evaluated."),
      starts: count("starts", "How many executions it would start: the matches whose parameters are valid."),
      liveMatches: count("liveMatches", "How many of the events the rule matches as it is stored."),
      gained: count("gained", "How many events it matches only with the given contents."),
      lost: count("lost", "How many events it matches only as it is stored."),
      enforced: count("enforced", "For how many of the events the rule has an enforcement."),
      differences: t.expose("differences", {
        type: [Difference],
        description: "The gained and lost events since the message before; a back-test names the first twenty.",
      }),
    };
  },
});

interface Args {
  input: typeof RuleBacktestInput.$inferInput;
  after?: string | null;
}

function open(ctx: Context, { input, after }: Args) {
  const { from, to, sample, ...tried } = input;
  const session = () => {
    if (ctx.session === null) throw new UnauthenticatedError();
    return ctx.session;
  };
  const draft = { ...toTried(tried), ...{ from: from ?? null, to: to ?? null, sample: sample ?? 1 } };
  const position = after === null || after === undefined ? null : readPosition(after);
  return backtestRule(ctx.services.db, session, draft, position);
}

const description =
  "Back-tests a rule: evaluates it over stored events of its trigger, oldest first, by the code that decides for real events, and compares it with the rule as it is stored. Nothing is stored or started, and no key is read. Ending the stream ends the work. You must be allowed to change or create the rule so, and to read the events.";
const inputArg = { type: RuleBacktestInput, required: true, description: "The rule and the time." } as const;
const afterArg = { type: "Cursor", description: "The cursor of a message to continue after." } as const;

builder.subscriptionField(subscription, (t) =>
  t.field({
    type: RuleBacktestMessage,
    nullable: true,
    authScopes: { signedIn: true },
    complexity: 100,
    description: `${description} \`${query}\` polls the same messages.`,
    args: { input: t.arg(inputArg), after: t.arg(afterArg) },
    subscribe: (_root, { input, after }, ctx) => {
      const given = ctx.lastEventId ?? after ?? null;
      ctx.beginsAfter = given ?? "0";
      return messages(ctx, async function* (signal) {
        for await (const report of open(ctx, { input, after: given === "0" ? null : given })) {
          if (signal.aborted) return;
          yield toMessage(report);
        }
      });
    },
    resolve: (each) => unwrap(each),
  }),
);

builder.queryField(query, (t) =>
  t.field({
    type: [RuleBacktestMessage],
    nullable: true,
    authScopes: { signedIn: true },
    complexity: ({ first }) => ({ field: 100, multiplier: Math.max(1, first ?? 1) }),
    description: `The messages of the subscription \`${subscription}\` after a cursor, for polling; each evaluates up to 2,000 events.`,
    args: {
      input: t.arg(inputArg),
      after: t.arg(afterArg),
      first: t.arg.int({ description: `The maximum number of messages: 1 by default, at most ${maxPolled}.` }),
    },
    resolve: async (_root, { input, after, first }, ctx) => {
      const wanted = Math.min(Math.max(first ?? 1, 1), maxPolled);
      const found: Message[] = [];
      for await (const report of open(ctx, { input, after: after ?? null })) {
        found.push(toMessage(report));
        if (found.length >= wanted) break;
      }
      return found;
    },
  }),
);
