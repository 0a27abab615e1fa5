import { auditServer, serverAudits } from "graphql-http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningServer, startInProcess } from "../support/server.ts";

// The audits of the specification "GraphQL over HTTP", by its reference implementation.

let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess(undefined, { ATTUNE__ROLES: "api" });
});
afterAll(() => server[Symbol.asyncDispose]());

const options = {
  url: () => `${server.url}/graphql`,
  fetchFn: (url: string, init: RequestInit = {}) =>
    fetch(url, { ...init, headers: { authorization: `Bearer ${server.token}`, ...(init.headers as object) } }),
};

test("every audit of GraphQL over HTTP passes", async () => {
  const results = await auditServer(options as never);
  const failed = results.filter(({ status }) => status !== "ok");
  expect(failed.map(({ id, name, status }) => `${id} ${status}: ${name}`)).toEqual([]);
  expect(results).toHaveLength(61);
  expect(serverAudits(options as never)).toHaveLength(61);
});
