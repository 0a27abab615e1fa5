import type { Admission, ExecutionRequest } from "./insert.ts";

/** Decides for each request, in order, whether its execution is scheduled now or has to wait. So far it admits every request. */
export function decideAdmissions(requests: readonly ExecutionRequest[]): Admission[] {
  return requests.map(() => ({ status: "scheduled", waitsFor: null }));
}
