/** The command failed for a reason that its user can understand: printed as one sentence or a few lines, and the exit code is 1. */
export class Failure extends Error {
  override readonly name = "Failure";
  /** The code of the API's error or refusal, if it is one. */
  readonly code: string | null;
  constructor(message: string, options: ErrorOptions & { code?: string } = {}) {
    super(message, options);
    this.code = options.code ?? null;
  }
}

/** The command was written wrongly: printed like a failure, and the exit code is 2. */
export class UsageFailure extends Failure {}
