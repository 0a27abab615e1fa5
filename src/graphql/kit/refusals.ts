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
  description: "A refusal. Every refusal in a result implements this interface.",
  fields: (t) => ({
    code: t.exposeString("code", { description: "The kind of refusal, for programs; it never changes." }),
    message: t.exposeString("message", { description: "A sentence for users; it may change." }),
  }),
});

const InputIssue = builder.objectRef<Issue>("InputIssue").implement({
  description: "One error in an input.",
  fields: (t) => ({
    path: t.exposeString("path", {
      description: 'A dotted path such as "conditions.0.operator"; "" for the whole input.',
    }),
    message: t.exposeString("message", { description: "What is required." }),
  }),
});

builder.objectType(InvalidInputError, {
  name: "InvalidInputError",
  description: "The input is invalid.",
  interfaces: [ErrorInterface],
  fields: (t) => ({
    issues: t.field({
      type: [InputIssue],
      description: "All errors that were found.",
      resolve: (error) => error.issues,
    }),
  }),
});

builder.objectType(NotFoundError, {
  name: "NotFoundError",
  description: "No object of this kind has this ref or id, or you may not read it.",
  interfaces: [ErrorInterface],
  fields: (t) => ({
    kind: t.exposeString("kind", { description: "The kind of object: action, rule, …" }),
    ref: t.exposeString("ref", { description: "The ref or id that was not found." }),
  }),
});

builder.objectType(ConflictError, {
  name: "ConflictError",
  description:
    "The change conflicts with the stored state: a duplicate, a disabled object, or an object that changed in the meantime.",
  interfaces: [ErrorInterface],
});

builder.objectType(ForbiddenError, {
  name: "ForbiddenError",
  description: "You lack a grant that is required.",
  interfaces: [ErrorInterface],
});

builder.objectType(UnauthenticatedError, {
  name: "UnauthenticatedError",
  description: "The credentials are wrong.",
  interfaces: [ErrorInterface],
});

builder.objectType(RateLimitedError, {
  name: "RateLimitedError",
  description: "Too many failed attempts.",
  interfaces: [ErrorInterface],
  fields: (t) => ({
    retryAfterSeconds: t.exposeInt("retryAfterSeconds", {
      description: "The number of seconds until the next attempt is accepted.",
    }),
  }),
});

export type RefusalClass = new (...args: never[]) => Refusal;

/**
 * Returns the `errors` option of a mutation, from the name and description of its payload's field. `more` lists refusals in
 * addition to those of all mutations.
 */
export function refusable(name: string, description: string, more: readonly RefusalClass[] = []) {
  return {
    types: [InvalidInputError, NotFoundError, ConflictError, ForbiddenError, ...more],
    union: { description: "The result, or the reason why the mutation was refused." },
    result: { description: "The mutation succeeded." },
    dataField: { name, description },
  };
}
