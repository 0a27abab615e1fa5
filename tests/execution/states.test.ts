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
const those = (holds: (status: ExecutionStatus) => boolean) => sorted(statuses.filter(holds));
const reaches = (from: ExecutionStatus, to: ExecutionStatus) => moves[from].includes(to);

test("every status is before the start, in progress or terminal, and in one of them alone", () => {
  expect(sorted([...unstarted, ...inProgress, ...terminal])).toEqual(sorted(statuses));
});

test("the sets follow from the moves", () => {
  expect(sorted(terminal)).toEqual(those((status) => moves[status].length === 0));
  expect(sorted(terminal)).toEqual(those(isTerminal));
  // Only what a worker has begun can be abandoned.
  expect(sorted(inProgress)).toEqual(those((status) => reaches(status, "abandoned")));
  for (const [index, status] of unstarted.slice(1).entries()) {
    expect(reaches(unstarted[index] ?? status, status)).toBe(true);
  }
  // What is being cancelled cannot be asked to end once more.
  const canEnd = (status: ExecutionStatus) => reaches(status, "canceling") || reaches(status, "cancelled");
  expect(sorted(cancellable)).toEqual(those((status) => canEnd(status) && status !== "canceling"));
  expect(firstStatuses).toEqual(expect.arrayContaining([...unstarted]));
  // A worker reports how it ended what it ran; nobody reports a loss.
  const ends = those((status) => isTerminal(status) && inProgress.some((from) => reaches(from, status)));
  expect(sorted([...reportable, "abandoned"])).toEqual(ends);
  // Neither what went well nor what somebody stopped is tried again.
  expect(sorted([...retryable, "completed", "cancelled"])).toEqual(sorted(terminal));
});

test("a set is written into SQL as it is, without parameters", () => {
  const { sql: text, params } = new PgDialect().sqlToQuery(sql`select where ${statusIn(inProgress, "e.status")}`);
  expect([text, params]).toEqual(["select where e.status in ('running', 'canceling')", []]);
});
