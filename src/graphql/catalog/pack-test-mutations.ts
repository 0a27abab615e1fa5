import { deleteTestRuns } from "../../catalog/test-runs.ts";
import { type PackTest, testPack } from "../../execution/test-pack.ts";
import { Execution } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { addMutation, addRowField, idempotencyKeyField } from "../kit/mutation.ts";
import { Pack } from "./pack.ts";
import { PackTestExecution } from "./pack-test.ts";

const TestPackPayload = builder.objectRef<PackTest>("TestPackPayload").implement({
  description: "The mutation succeeded.",
  fields: (t) => ({
    isCached: t.boolean({
      description: "Whether nothing was requested: the release has passed its tests before.",
      resolve: ({ run }) => run !== null,
    }),
  }),
});
addRowField(TestPackPayload, "pack", { table: "packs", ref: Pack, description: "The pack." });
addRowField(TestPackPayload, "execution", {
  table: "executions",
  ref: Execution,
  key: "execution",
  description: "The execution that runs the tests; null if the release has passed them before.",
});
addRowField(TestPackPayload, "run", {
  table: "packTestExecutions",
  ref: PackTestExecution,
  key: "run",
  description: "The run that passed; null if the tests are run now.",
});

addMutation({
  name: "testPack",
  may: "pack:update",
  description:
    "Runs the tests of a pack's active release, unless it has passed them before. `packTestProgress` follows the runners; the execution ends as `completed` when every runner has a readable result and enough tests passed.",
  input: builder.inputType("TestPackInput", {
    description: "The tests to run.",
    fields: (t) => ({
      pack: t.string({ required: true, description: "The pack's ref." }),
      runners: t.stringList({
        description:
          "The names of the runners; all by default. A part of the tests is not stored as a run: its result is the execution's.",
      }),
      noCache: t.boolean({ description: "Whether to run them although the release has passed them before." }),
      idempotencyKey: idempotencyKeyField(t),
    }),
  }),
  inputDescription: "The tests to run.",
  type: TestPackPayload,
  payload: null,
  prepare: (_ctx, { pack, runners, noCache }) => ({ pack, runners: runners ?? null, noCache: noCache ?? false }),
  run: testPack,
});

const DeletePackTestRunsPayload = builder
  .objectRef<{ id: bigint; count: number }>("DeletePackTestRunsPayload")
  .implement({
    description: "The mutation succeeded.",
    fields: (t) => ({ count: t.exposeInt("count", { description: "How many runs were deleted." }) }),
  });
addRowField(DeletePackTestRunsPayload, "pack", { table: "packs", ref: Pack, description: "The pack." });

addMutation({
  name: "deletePackTestRuns",
  may: "pack:update",
  description: "Deletes the old runs of a pack's tests.",
  input: builder.inputType("DeletePackTestRunsInput", {
    description: "The runs to delete.",
    fields: (t) => ({
      pack: t.string({ required: true, description: "The pack's ref." }),
      olderThanDays: t.int({ required: true, description: "Runs are deleted that are older than these days." }),
    }),
  }),
  inputDescription: "The runs.",
  type: DeletePackTestRunsPayload,
  payload: null,
  run: deleteTestRuns,
});
