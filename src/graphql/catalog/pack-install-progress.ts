import { invalid, NotFoundError } from "../../errors.ts";
import {
  followSteps,
  type InstallStep,
  type InstallStepStatus,
  readSteps,
  type StoredStep,
} from "../../execution/install-steps.ts";
import { builder } from "../kit/builder.ts";
import { upperCased } from "../kit/enums.ts";
import { LiveMessage } from "../kit/live.ts";
import { addSequence } from "../kit/sequence.ts";

const PackInstallStep = upperCased("PackInstallStep", "A step of the installation of a pack, in their order.", {
  fetch: "Its archive or repository is fetched.",
  checksum: "The digest of what was fetched is compared with the expected one.",
  check: "It is unpacked, and its files are checked.",
  dependencies: "What it needs of other packs, and they of it, is looked up.",
  environments: "Its environments are built.",
  tests: "Its tests are run.",
  activate: "It becomes the active release.",
} satisfies Record<InstallStep, string>);

const PackInstallStepStatus = upperCased("PackInstallStepStatus", "How far a step of an installation is.", {
  running: "It is being done.",
  done: "It is done.",
  failed: "It failed, and so did the installation; the installed version is as it was.",
  skipped: "It was passed over.",
} satisfies Record<InstallStepStatus, string>);

const PackInstallProgressMessage = builder
  .objectRef<StoredStep & { cursor: string }>("PackInstallProgressMessage")
  .implement({
    description: "A step of an installation began, is further, or ended.",
    interfaces: [LiveMessage],
    fields: (t) => ({
      step: t.expose("step", { type: PackInstallStep, description: "The step." }),
      status: t.expose("status", { type: PackInstallStepStatus, description: "How far it is." }),
      message: t.exposeString("message", {
        nullable: true,
        description: "What is being done, what was found, or why it failed, in one line.",
      }),
      attempt: t.exposeInt("attempt", {
        description:
          "The attempt of the execution. After the loss of a worker the next one begins with the first step.",
      }),
      startedAt: t.field({
        type: "DateTime",
        description: "When the step began.",
        resolve: ({ at, durationMs }) => new Date(at.getTime() - durationMs),
      }),
      durationMs: t.exposeInt("durationMs", { description: "For how long it has run, in milliseconds." }),
    }),
  });

addSequence<StoredStep>({
  subscription: "packInstallProgress",
  type: PackInstallProgressMessage,
  of: "Execution",
  noun: "an installation",
  descriptions: {
    subscription:
      "How far an installation of a pack is: each step when it begins, is further, and ends. Completes when the execution has ended.",
    id: "The id of the execution of `core.install_pack`.",
    after: "The cursor to begin after; by default the messages begin with the first step.",
  },
  requireReadable: async (ctx, id) => {
    const columns = { id: true, actionRef: true } as const;
    const found = await ctx.db.query.executions.findFirst({ columns, where: { id } });
    if (!found) throw new NotFoundError("execution", String(id));
    if (found.actionRef !== "core.install_pack") {
      throw invalid("id", `expected an execution of core.install_pack, not of ${found.actionRef}`);
    }
  },
  follow: (ctx, id, after, signal) => followSteps(ctx.services, id, after, signal),
  read: (ctx, id, page) => readSteps(ctx.services.db, id, page),
});
