import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { processesWith } from "../support/processes.ts";
import { request, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const base = mkdtempSync(join(tmpdir(), "worker-scratch-"));
/** Unique, so that a run that was broken off does not matter. */
const seconds = `7005.${process.pid}`;
const endAction = () => {
  for (const pid of processesWith(`sleep\u0000${seconds}`)) process.kill(Number(pid), "SIGKILL");
};
afterAll(() => {
  endAction();
  rmSync(base, { recursive: true });
});

const files = () =>
  readdirSync(base, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && !entry.name.startsWith("lock"),
  );
const scratches = () => readdirSync(base).filter((name) => name.startsWith("attune-scratch-"));

test("kill -9 leaves nothing of the parameters, and the next start removes what the action wrote", async () => {
  const command = `echo kept > "$ATTUNE_ARTIFACTS_DIR/file"; cat "$ATTUNE_PARAMETER_FILE" >&2; exec sleep ${seconds}`;
  await using killed = await startProcess(undefined, { TMPDIR: base });
  const input = { action: "core.shell", parameters: { command } };
  await request(
    killed,
    "mutation ($input: ExecuteActionInput!) { executeAction(input: $input) { __typename ... on Error { message } } }",
    { input },
  );
  await until(() => processesWith(`sleep\u0000${seconds}`).length === 1, "the action, which has read its parameters");
  expect(scratches()).toHaveLength(1);
  expect(files().map(({ name }) => name)).toEqual(["file"]);
  const contents = files().map(({ parentPath, name }) => readFileSync(join(parentPath, name), "utf8"));
  expect(contents.join()).toBe("kept\n");
  await killed.kill();
  endAction();
  const left = scratches();
  await using _restarted = await startProcess(killed.location, { TMPDIR: base });
  expect(scratches()).toHaveLength(1);
  expect(scratches()).not.toEqual(left);
});
