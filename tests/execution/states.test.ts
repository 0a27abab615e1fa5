import { sql } from "drizzle-orm";
import { PgDialect } from "drizzle-orm/pg-core";
import { expect, test } from "vitest";
import { executionStatus } from "../../src/db/schema.ts";
import {
  cancellable,
  type ExecutionStatus,
  firstStatuses,
  inProgress,
  isTerminal,
  moves,
  reportable,
  retryable,
  statusIn,
  terminal,
  unstarted,
} from "../../src/execution/states.ts";

const statuses = executionStatus.enumValues;
const sorted = (set: readonly ExecutionStatus[]) => [...set].sort();
const statusesThat = (holds: (status: ExecutionStatus) => boolean) => sorted(statuses.filter(holds));
const reaches = (from: ExecutionStatus, to: ExecutionStatus) => moves[from].includes(to);

test("every status is exactly one of unstarted, in progress or terminal", () => {
  expect(sorted([...unstarted, ...inProgress, ...terminal])).toEqual(sorted(statuses));
});

test("the sets follow from the moves", () => {
  expect(sorted(terminal)).toEqual(statusesThat((status) => moves[status].length === 0));
  expect(sorted(terminal)).toEqual(statusesThat(isTerminal));
  // Only an execution that a worker has started can be abandoned.
  expect(sorted(inProgress)).toEqual(statusesThat((status) => reaches(status, "abandoned")));
  for (const [index, status] of unstarted.slice(1).entries()) {
    expect(reaches(unstarted[index] ?? status, status)).toBe(true);
  }
  // An execution in cancellation cannot be cancelled again.
  const canEnd = (status: ExecutionStatus) => reaches(status, "canceling") || reaches(status, "cancelled");
  expect(sorted(cancellable)).toEqual(statusesThat((status) => canEnd(status) && status !== "canceling"));
  expect(firstStatuses).toEqual(expect.arrayContaining([...unstarted]));
  // A worker reports how its executions ended; no worker reports a loss.
  const ends = statusesThat((status) => isTerminal(status) && inProgress.some((from) => reaches(from, status)));
  expect(sorted([...reportable, "abandoned"])).toEqual(ends);
  // Completed and cancelled executions are not retried.
  expect(sorted([...retryable, "completed", "cancelled"])).toEqual(sorted(terminal));
});

test("a set is written into SQL literally, without parameters", () => {
  const { sql: text, params } = new PgDialect().sqlToQuery(sql`select where ${statusIn(inProgress, "e.status")}`);
  expect([text, params]).toEqual(["select where e.status in ('running', 'canceling')", []]);
});
