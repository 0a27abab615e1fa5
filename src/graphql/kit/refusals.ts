import {
  ConflictError,
  ForbiddenError,
  InvalidInputError,
  type Issue,
  NotFoundError,
  RateLimitedError,
  type Refusal,
  UnauthenticatedError,
} from "../../errors.ts";
import { builder } from "./builder.ts";

const ErrorInterface = builder.interfaceRef<{ code: string; message: string }>("Error").implement({
  description: "Why something was refused. Every member of a result that is a refusal is one of these.",
  fields: (t) => ({
    code: t.exposeString("code", { description: "What kind of refusal; never changes." }),
    message: t.exposeString("message", { description: "A sentence for people; may change." }),
  }),
});

const InputIssue = builder.objectRef<Issue>("InputIssue").implement({
  description: "One fault of an input.",
  fields: (t) => ({
    path: t.exposeString("path", {
      description: 'Where, as a dotted path such as "conditions.0.operator"; "" for the whole.',
    }),
    message: t.exposeString("message", { description: "What would be right." }),
  }),
});

builder.objectType(InvalidInputError, {
  name: "InvalidInputError",
  description: "The input cannot be used.",
  interfaces: [ErrorInterface],
  fields: (t) => ({
    issues: t.field({
      type: [InputIssue],
      description: "Every fault that was found.",
      resolve: (error) => error.issues,
    }),
  }),
});

builder.objectType(NotFoundError, {
  name: "NotFoundError",
  description: "There is nothing of that kind with that ref or id.",
  interfaces: [ErrorInterface],
  fields: (t) => ({
    kind: t.exposeString("kind", { description: "What was looked for: action, rule, …" }),
    ref: t.exposeString("ref", { description: "The ref or id that was looked for." }),
  }),
});

builder.objectType(ConflictError, {
  name: "ConflictError",
  description: "The change contradicts what is stored: a duplicate, something disabled, a row changed meanwhile.",
  interfaces: [ErrorInterface],
});

builder.objectType(ForbiddenError, {
  name: "ForbiddenError",
  description: "You may not do this.",
  interfaces: [ErrorInterface],
});

builder.objectType(UnauthenticatedError, {
  name: "UnauthenticatedError",
  description: "What was given to sign in with is wrong.",
  interfaces: [ErrorInterface],
});

builder.objectType(RateLimitedError, {
  name: "RateLimitedError",
  description: "Too many attempts have failed.",
  interfaces: [ErrorInterface],
  fields: (t) => ({
    retryAfterSeconds: t.exposeInt("retryAfterSeconds", {
      description: "After how many seconds the next attempt is looked at.",
    }),
  }),
});

export type RefusalClass = new (...args: never[]) => Refusal;

/**
 * The `errors` option of a mutation: the name and meaning of what its payload holds, or one of the refusals; those of few mutations
 * are named in `more`.
 */
export function refusable(name: string, description: string, more: readonly RefusalClass[] = []) {
  return {
    types: [InvalidInputError, NotFoundError, ConflictError, ForbiddenError, ...more],
    union: { description: "What was done, or why nothing was." },
    result: { description: "It was done." },
    dataField: { name, description },
  };
}
