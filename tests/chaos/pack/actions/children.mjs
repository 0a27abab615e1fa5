// Starts the children of an execution, each with an idempotency key of its own: a second attempt starts none twice.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [, , key, count] = process.argv;
const url = new URL("/graphql", process.env.ATTUNE_API_URL);
const authorization = `Bearer ${readFileSync(process.env.ATTUNE_TOKEN_FILE, "utf8").trim()}`;
const query = `mutation ($input: ExecuteActionInput!) { executeAction(input: $input) {
  ... on ExecuteActionPayload { execution { id } } ... on Error { message } } }`;

async function start(child) {
  const action = child.endsWith(".0") ? "chaos.tree" : "chaos.again";
  const parameters = action === "chaos.tree" ? { key: child, children: 0 } : { key: child, seconds: 0.5 };
  const input = { action, parameters, idempotencyKey: child };
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization },
    body: JSON.stringify({ query, variables: { input } }),
    signal: AbortSignal.timeout(20_000),
  });
  const { data } = await response.json();
  if (!data?.executeAction?.execution) throw new Error(data?.executeAction?.message ?? `status ${response.status}`);
}

for (let index = 0; index < Number(count); index += 1) {
  for (let tries = 0; ; tries += 1) {
    try {
      await start(`${key}.${index}`);
      break;
    } catch (error) {
      if (tries === 20) throw error;
      await sleep(1000);
    }
  }
}
