import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { overEvents, overSocket } from "../support/client.ts";
import type { Location } from "../support/database.ts";
import { type RunningServer, request, type ServerProcess, startInProcess, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const environment = { ATTUNE__PACKS__DIRS: fileURLToPath(new URL("pack", import.meta.url)) };

const execute = `mutation ($action: String!, $parameters: JSONObject) {
  executeAction(input: {action: $action, parameters: $parameters}) {
    ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;
const inquiriesQuery = `query ($id: ID!) { execution(id: $id) { status inquiries(first: 5) { totalCount { count } nodes {
  id prompt status responseSchema timeoutAt assignedRole assignedTo { login } viewerCan { respond cancel } } } } }`;
const outcome = "query ($id: ID!) { execution(id: $id) { status waitsFor result workerName worker { id } } }";
const respond = `mutation ($id: ID!, $response: JSON) { respondToInquiry(input: {id: $id, response: $response}) { __typename
  ... on RespondToInquiryPayload { inquiry { status response respondedBy { login } viewerCan { respond cancel } } }
  ... on InvalidInputError { issues { path } } ... on Error { message } } }`;
const cancel = `mutation ($id: ID!) { cancelInquiry(input: {id: $id}) { __typename
  ... on CancelInquiryPayload { inquiry { status } } } }`;
const steps = "cursor inquiryId executionId actionRef fromStatus toStatus assignedToId assignedRole timeoutAt";
const changed = `subscription ($after: Cursor) { inquiryChanged(after: $after, where: {action: {eq: "core.inquire"}}) { ${steps} } }`;
const cursors = "{ executionStatusMessages(first: 100) { cursor toStatus } }";
const polled = `query ($execution: ID!, $after: Cursor) {
  inquiryChangedMessages(where: {execution: {eq: $execution}}, after: $after) { ${steps} } }`;
const mine = `{ viewer { myInquiries(where: {status: {eq: PENDING}}) { totalCount { count } nodes { prompt } } } }`;

interface Question {
  id: string;
  status: string;
  viewerCan: { respond: boolean; cancel: boolean };
}

interface ExecutionInquiries {
  execution: { inquiries: { totalCount: { count: number }; nodes: Question[] } };
}

interface Step {
  cursor: string;
  fromStatus: string | null;
  toStatus: string;
}

let first: ServerProcess;
/** `first` until it is killed, then its successor. */
let server: RunningServer;
let location: Location;

beforeAll(async () => {
  first = await startProcess(undefined, environment);
  server = first;
  location = server.location;
});
afterAll(() => server[Symbol.asyncDispose]());

async function run(action: string, parameters: object): Promise<string> {
  const result = await request<{ executeAction: { execution: { id: string } } }>(server, execute, {
    action,
    parameters,
  });
  return result.executeAction.execution.id;
}

/** Waits for the execution's inquiry and returns it. */
const questionOf = (id: string) =>
  until(async () => {
    const { execution } = await request<ExecutionInquiries>(server, inquiriesQuery, { id });
    return execution.inquiries.nodes[0];
  }, "the question");

const ended = (id: string) =>
  until(async () => {
    const { execution } = await request<{ execution: { status: string; result: { data: object } } }>(server, outcome, {
      id,
    });
    return ["SCHEDULED", "RUNNING"].includes(execution.status) ? null : execution;
  }, "the end of the execution");

async function respondTo(id: string, response: unknown) {
  return (await request<{ respondToInquiry: Record<string, unknown> }>(server, respond, { id, response }))
    .respondToInquiry;
}

describe("an inquiry", () => {
  test("is created by core.inquire, shown to its assignee, responded to over the API, and followed live and by polling", async () => {
    await ended(await run("core.noop", {}));
    const { executionStatusMessages } = await request<{ executionStatusMessages: Step[] }>(server, cursors);
    const after = executionStatusMessages.at(-1)?.cursor;
    const live = [overSocket, overEvents].map((follow) =>
      follow<Step>(server, { query: changed, variables: { after } }),
    );
    const id = await run("core.inquire", {
      prompt: "Deploy?",
      assigned_to: "admin",
      assigned_role: "lead",
      timeout_seconds: 600,
      response_schema: { approved: { type: "boolean", required: true } },
    });
    const question = await questionOf(id);
    expect(question).toMatchObject({
      prompt: "Deploy?",
      status: "PENDING",
      responseSchema: { approved: { type: "boolean", required: true } },
      assignedTo: { login: "admin" },
      assignedRole: "lead",
      viewerCan: { respond: true, cancel: true },
    });
    expect(await request(server, mine)).toEqual({
      viewer: { myInquiries: { totalCount: { count: 1 }, nodes: [{ prompt: "Deploy?" }] } },
    });
    expect(await request(server, outcome, { id })).toMatchObject({
      execution: { status: "RUNNING", waitsFor: "INQUIRY", worker: null, workerName: null },
    });
    expect(await respondTo(question.id, { approved: 1 })).toMatchObject({
      __typename: "InvalidInputError",
      issues: [{ path: "response.approved" }],
    });
    expect(await respondTo(question.id, { approved: true })).toEqual({
      __typename: "RespondToInquiryPayload",
      inquiry: {
        status: "RESPONDED",
        response: { approved: true },
        respondedBy: { login: "admin" },
        viewerCan: { respond: false, cancel: false },
      },
    });
    expect(await respondTo(question.id, { approved: true })).toMatchObject({ __typename: "ConflictError" });
    expect(await ended(id)).toMatchObject({
      status: "COMPLETED",
      result: { data: { response: { approved: true }, responded_by: "admin" } },
    });
    expect(await request(server, mine)).toMatchObject({ viewer: { myInquiries: { totalCount: { count: 0 } } } });

    const { inquiryChangedMessages } = await request<{ inquiryChangedMessages: Step[] }>(server, polled, {
      execution: id,
    });
    expect(inquiryChangedMessages).toMatchObject([
      {
        fromStatus: null,
        toStatus: "PENDING",
        inquiryId: question.id,
        executionId: id,
        actionRef: "core.inquire",
        assignedToId: expect.any(String),
        assignedRole: "lead",
      },
      { fromStatus: "PENDING", toStatus: "RESPONDED", inquiryId: question.id },
    ]);
    for (const stream of live) {
      await until(() => stream.seen.length >= 2, "the live response");
      expect(stream.seen).toEqual(inquiryChangedMessages);
      stream.drop();
    }
    const rest = await request(server, polled, { execution: id, after: inquiryChangedMessages[0]?.cursor });
    expect(rest).toEqual({ inquiryChangedMessages: inquiryChangedMessages.slice(1) });
  });

  test("is created by an action with its token, which cannot respond to it but reads the response", async () => {
    const id = await run("asker.ask", { role: "on-call" });
    const question = await questionOf(id);
    expect(await respondTo(question.id, "you may")).toMatchObject({ __typename: "RespondToInquiryPayload" });
    expect(await ended(id)).toMatchObject({
      status: "COMPLETED",
      result: {
        data: {
          own: id,
          viewerCan: { respond: false, cancel: true },
          refused: "ForbiddenError",
          status: "RESPONDED",
          response: "you may",
        },
      },
    });
  });

  test("is cancelled together with the execution that waits for it", async () => {
    const id = await run("core.inquire", { prompt: "Still?" });
    const question = await questionOf(id);
    expect(await request(server, cancel, { id: question.id })).toMatchObject({
      cancelInquiry: { inquiry: { status: "CANCELLED" } },
    });
    expect((await ended(id)).status).toBe("CANCELLED");
  });

  test("survives kill -9 of the server, and takes a response after the restart; its deadline is kept", async () => {
    const waiting = await run("core.inquire", { prompt: "After all?" });
    const timed = await run("core.inquire", { prompt: "In time?", timeout_seconds: 2, default_response: "no" });
    const question = await questionOf(waiting);
    await questionOf(timed);
    await first.kill();
    server = await startInProcess(location, environment);
    expect(await questionOf(waiting)).toMatchObject({ id: question.id, status: "PENDING" });
    expect(await ended(timed)).toMatchObject({
      status: "COMPLETED",
      result: { data: { response: "no", expired: true } },
    });
    expect(await request(server, outcome, { id: waiting })).toMatchObject({
      execution: { status: "RUNNING", waitsFor: "INQUIRY" },
    });
    await respondTo(question.id, 42);
    expect(await ended(waiting)).toMatchObject({ status: "COMPLETED", result: { data: { response: 42 } } });
  });

  test("is created once, even if the server is killed during the creation", async () => {
    await server[Symbol.asyncDispose]();
    await using dying = await startProcess(location, { ...environment, ATTUNE__TEST__FAULT: "inquiry.before_commit" });
    const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(dying, execute, {
      action: "core.inquire",
      parameters: { prompt: "Once?" },
    });
    await dying.exited;
    expect(dying.child.signalCode).toBe("SIGKILL");
    server = await startInProcess(location, environment);
    const question = await questionOf(executeAction.execution.id);
    const all = await request<ExecutionInquiries>(server, inquiriesQuery, { id: executeAction.execution.id });
    expect(all.execution.inquiries.totalCount.count).toBe(1);
    await respondTo(question.id, 1);
    expect((await ended(executeAction.execution.id)).status).toBe("COMPLETED");
  });
});
