/** The driver's codes for a connection that was lost, refused or silent, or that nobody got in time. */
const driverCodes = new Set([
  ...["CONNECTION_CLOSED", "CONNECTION_DESTROYED", "CONNECTION_ENDED", "CONNECT_TIMEOUT", "RESPONSE_TIMEOUT"],
  ...[
    "QUEUE_TIMEOUT",
    "ECONNRESET",
    "ECONNREFUSED",
    "EPIPE",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTFOUND",
    "EAI_AGAIN",
  ],
]);

/**
 * PostgreSQL's codes: connection exceptions (08), insufficient resources such as a full disk or too many connections (53), serialization
 * failures and deadlocks (40), a server that stops or starts (57P), and a transaction left open for too long.
 */
const serverCodes = /^(08...|53...|40001|40P01|57P0.|25P03)$/;

/** Whether an error of the database has causes that pass: the same request may succeed later, unchanged. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? String(error.code) : "";
  return driverCodes.has(code) || serverCodes.test(code) || isPassing(error.cause);
}
