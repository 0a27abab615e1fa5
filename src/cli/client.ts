import type { Connection } from "./connection.ts";
import { Failure, UsageFailure } from "./failure.ts";

/** Sends one operation and returns its data. Throws Failure with a sentence for people. */
export type Ask = <T>(document: string, variables?: Record<string, unknown>) => Promise<T>;

const timeoutMs = 60_000;

interface ApiError {
  message: string;
  extensions?: { code?: string; requestId?: string };
}

/** Sends a request to the server. Throws Failure when it does not respond. */
export async function send(
  { url }: Connection,
  path: string,
  init: RequestInit & { signal: AbortSignal },
): Promise<Response> {
  const late = AbortSignal.timeout(timeoutMs);
  try {
    return await fetch(`${url}${path}`, { ...init, redirect: "error", signal: AbortSignal.any([init.signal, late]) });
  } catch (error) {
    init.signal.throwIfAborted();
    if (late.aborted) throw new Failure(`${url} has not responded within ${timeoutMs / 1000} seconds.`);
    throw new Failure(
      `${url} cannot be reached (${reasonOf(error)}): start a server with "attune serve", or name another with --url.`,
      { cause: error },
    );
  }
}

function reasonOf(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message?: string };
  return cause?.code ?? cause?.message ?? message ?? String(error);
}

/** Returns the function that asks the server. `onDone` hears of every operation with its name and duration. */
export function createAsk(
  connection: Connection,
  signal: AbortSignal,
  onDone: (name: string, ms: number, status: number) => void,
): Ask {
  const ask = async <T>(document: string, variables: Record<string, unknown> = {}): Promise<T> => {
    const started = performance.now();
    const response = await send(connection, "/graphql", {
      method: "POST",
      signal,
      headers: {
        accept: "application/graphql-response+json",
        "content-type": "application/json",
        ...(connection.token === null ? {} : { authorization: `Bearer ${connection.token}` }),
      },
      body: JSON.stringify({ query: document, variables }),
    });
    const text = await response.text();
    onDone(/\{\s*(?:\w+: )?(\w+)/.exec(document)?.[1] ?? "", performance.now() - started, response.status);
    try {
      return dataOf<T>(connection, response, text);
    } catch (error) {
      const [, type] = error instanceof Failure ? (unknownConstant.exec(error.message) ?? []) : [];
      if (type === undefined) throw error;
      throw await refuseConstant(String((error as Failure).message), type, ask);
    }
  };
  return ask;
}

/** What the API says of a value that is none of an enum's. */
const unknownConstant = /Value "[^"]*" does not exist in "(\w+)" enum/;

/** Returns the failure for a value that an enum does not have, with those that it has as they are written on the command line. */
async function refuseConstant(message: string, type: string, ask: Ask): Promise<Failure> {
  const document = "query($type: String!) { __type(name: $type) { enumValues { name } } }";
  const found = await ask<{ __type: { enumValues: { name: string }[] } | null }>(document, { type });
  const values = found.__type?.enumValues.map(({ name }) => name.toLowerCase()) ?? [];
  const [, value = ""] = /Value "([^"]*)"/.exec(message) ?? [];
  return new UsageFailure(`"${value.toLowerCase()}" is not one of ${values.join(", ")}.`);
}

function dataOf<T>(connection: Connection, response: Response, text: string): T {
  let body: { data?: T; errors?: ApiError[] } | null = null;
  try {
    body = JSON.parse(text);
  } catch {} // it is not JSON: below
  const [error] = body?.errors ?? [];
  if (error) throw failureOf(error, connection);
  if (!body?.data) {
    const type = response.headers.get("content-type") ?? "nothing";
    throw new Failure(
      `${connection.url} is no Attune server: it responded with status ${response.status} and ${type}.`,
    );
  }
  return body.data;
}

/** Returns the failure for an error of the API. */
export function failureOf({ message, extensions }: ApiError, { url, token }: Connection): Failure {
  const code = extensions?.code;
  if (code === "UNAUTHENTICATED") {
    const what = token === null ? "Nothing signs you in" : "The credential is not valid, or no longer";
    return new Failure(`${what} at ${url}: sign in with "attune auth login".`, { code });
  }
  const request = extensions?.requestId === undefined ? "" : ` (request ${extensions.requestId})`;
  return new Failure(
    `${message}${code === "INTERNAL_SERVER_ERROR" ? request : ""}`,
    code === undefined ? {} : { code },
  );
}

interface Refusal {
  __typename: string;
  message?: string;
  issues?: { path: string; message: string }[];
}

/** Performs a mutation with `selection` of its payload, which it returns. Throws Failure with the refusal's reason. */
export async function mutate<T>(ask: Ask, name: string, input: object, selection: string): Promise<T> {
  const type = name.charAt(0).toUpperCase() + name.slice(1);
  const document = `mutation($input: ${type}Input!) { ${name}(input: $input) {
    __typename ... on ${type}Payload { ${selection} } ... on Error { message } ... on InvalidInputError { issues { path message } } } }`;
  const { [name]: result } = await ask<Record<string, (T & Refusal) | null>>(document, { input });
  if (result?.__typename === `${type}Payload`) return result;
  const issues = result?.issues ?? [];
  const lines = issues.map(({ path, message }) => `\n  ${path ? `${path}: ` : ""}${message}`);
  throw new Failure(
    lines.length > 1 ? `The input is invalid:${lines.join("")}` : (result?.message ?? "It was refused."),
    {
      code: result?.__typename ?? "",
    },
  );
}
