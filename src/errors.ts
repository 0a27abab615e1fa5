/** The base of all refusals: a stable `code`, data, and a message that may change. */
export abstract class Refusal extends Error {
  abstract readonly code: string;
}

/** One fault of an input: its dotted path ("" for the whole input) and a message that describes a valid value. */
export interface Issue {
  path: string;
  message: string;
}

/** The input is invalid; lists every fault with its path. */
export class InvalidInputError extends Refusal {
  override readonly name = "InvalidInputError";
  readonly code = "BAD_USER_INPUT";
  readonly issues: Issue[];
  constructor(issues: Issue[], options?: ErrorOptions) {
    super(issues.map((issue) => (issue.path ? `${issue.path}: ${issue.message}` : issue.message)).join("; "), options);
    this.issues = issues;
  }
}

/** Returns the error for an input with one fault. */
export function invalid(path: string, message: string): InvalidInputError {
  return new InvalidInputError([{ path, message }]);
}

/** Returns the noun of a kind such as `permission_set` for messages. */
export const nounOf = (kind: string) => kind.replaceAll("_", " ");

/** No row of that kind has that ref or id, or the caller may not know of it. */
export class NotFoundError extends Refusal {
  override readonly name = "NotFoundError";
  readonly code = "NOT_FOUND";
  readonly kind: string;
  readonly ref: string;
  constructor(kind: string, ref: string) {
    super(`There is no ${nounOf(kind)} "${ref}".`);
    this.kind = kind;
    this.ref = ref;
  }
}

/** The change conflicts with stored rows: a duplicate, an illegal change of status, a row that was changed meanwhile. */
export class ConflictError extends Refusal {
  override readonly name = "ConflictError";
  readonly code = "CONFLICT";
}

/** The caller is authenticated but may not do this. */
export class ForbiddenError extends Refusal {
  override readonly name = "ForbiddenError";
  readonly code = "FORBIDDEN";
}

/** The request has no valid credential. */
export class UnauthenticatedError extends Refusal {
  override readonly name = "UnauthenticatedError";
  readonly code = "UNAUTHENTICATED";
  constructor(
    message = "Sign in, or send `Authorization: Bearer <token>` (on a WebSocket in `connectionParams: {authorization: …}`).",
  ) {
    super(message);
  }
}

/** Too many attempts have failed; the next is allowed after `retryAfterSeconds`. */
export class RateLimitedError extends Refusal {
  override readonly name = "RateLimitedError";
  readonly code = "RATE_LIMITED";
  readonly retryAfterSeconds: number;
  constructor(retryAfterSeconds: number) {
    super(`Too many attempts have failed: try again in ${retryAfterSeconds} seconds.`);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** There is no room on the disk for new work; what was asked for may be repeated once there is. */
export class NoRoomError extends Refusal {
  override readonly name = "NoRoomError";
  readonly code = "INSUFFICIENT_STORAGE";
  constructor(reason: string) {
    super(`No new work is taken: ${reason}. What frees space is still allowed.`);
  }
}

/** A subscription's message could not be delivered in time; resume at `resumeCursor`. */
export class LaggedError extends Refusal {
  override readonly name = "LaggedError";
  readonly code = "LAGGED";
  readonly missed: number;
  readonly resumeCursor: string;
  constructor(missed: number, resumeCursor: string) {
    super(`The subscriber took too long to take a message; resume with after: "${resumeCursor}".`);
    this.missed = missed;
    this.resumeCursor = resumeCursor;
  }
}

/** The cursor's entries are no longer kept, or it is from before a restore; `oldestCursor` is the first valid one. */
export class CursorExpiredError extends Refusal {
  override readonly name = "CursorExpiredError";
  readonly code = "CURSOR_EXPIRED";
  readonly oldestCursor: string;
  constructor(oldestCursor: string) {
    super(`The cursor is older than what is kept, or of another log; start again at after: "${oldestCursor}".`);
    this.oldestCursor = oldestCursor;
  }
}

/** The program cannot start; the message names the cure. It is printed without a stack, and the process exits with 1. */
export class StartError extends Error {
  override readonly name = "StartError";
}
