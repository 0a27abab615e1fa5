import type { Admission, ExecutionRequest } from "./insert.ts";

/** Decides for each request, in order, whether its execution may be given to a worker now. Nothing holds executions back yet. */
export function admit(requests: readonly ExecutionRequest[]): Admission[] {
  return requests.map(() => ({ status: "scheduled", waitsFor: null }));
}
