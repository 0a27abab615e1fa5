import type { ListrDefaultRendererLogLevels } from "listr2";
import type { Context } from "./context.ts";
import type { Message } from "./follow.ts";
import { withoutControls } from "./terminal.ts";

/** The steps of an installation, in their order. */
const names = ["FETCH", "CHECKSUM", "CHECK", "DEPENDENCIES", "ENVIRONMENTS", "TESTS", "ACTIVATE"] as const;
type Name = (typeof names)[number];

/** How far a step is. */
interface Step {
  step: Name;
  status: "RUNNING" | "DONE" | "FAILED" | "SKIPPED";
  message: string | null;
  attempt: number;
  durationMs: number;
}

/** What shows the steps of one attempt. */
interface View {
  show(step: Step): void;
  say(text: string): void;
  /** Ends it; steps that have not ended stay so. */
  end(): Promise<void>;
}

const document = `subscription($id: ID!, $after: Cursor) { packInstallProgress(id: $id, after: $after) {
  cursor step status message attempt durationMs } }`;

/** Shows the steps of an installation on stderr until it has ended: as a list on a terminal, as lines elsewhere. */
export async function followSteps(context: Context, id: string): Promise<void> {
  let view: View | null = null;
  let attempt = 0;
  const say = (text: string) => (view ? view.say(text) : context.note(text));
  try {
    for await (const step of context.follow<Step & Message>({ document, variables: { id }, after: null }, say)) {
      if (step.attempt !== attempt) {
        await view?.end();
        if (attempt > 0) context.note(`The worker was lost: attempt ${step.attempt} begins.`);
        attempt = step.attempt;
        view = await createView(context);
      }
      view?.show(step);
    }
  } finally {
    await view?.end();
  }
}

/** A terminal without a width has no room for a list that is drawn again and again. */
async function createView(context: Context): Promise<View> {
  const { stderr } = context.terminal;
  return stderr.isTTY === true && (stderr.columns ?? 0) > 0 ? await createList(context) : createLines(context);
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

function createLines(context: Context): View {
  let last: string | null = null;
  return {
    show: ({ step, status, message, durationMs }) => {
      const name = step.toLowerCase();
      const text = message === null || (status === "DONE" && message === last) ? "" : `: ${message}`;
      last = message;
      if (status === "RUNNING") return context.note(`${name}${text}`);
      const took = status === "SKIPPED" ? "" : ` in ${seconds(durationMs)}`;
      context.note(`${name} ${status.toLowerCase()}${took}${text}`);
    },
    say: (text) => context.note(text),
    end: async () => {},
  };
}

/** Ends a step of the list. */
class Unfinished extends Error {}

async function createList({ terminal }: Context): Promise<View> {
  const { DefaultRenderer, Listr, ListrLogger, ProcessOutput, createWritable } = await import("listr2");
  // It draws whatever stdout is.
  class Renderer extends DefaultRenderer {
    static override nonTTY = true;
  }
  const rows = new Map(
    names.map((name) => {
      const ended = Promise.withResolvers<Step>();
      ended.promise.catch(() => {}); // of those that are never reached
      return [name, { ended, task: null as { title: string; output: string } | null, newest: null as Step | null }];
    }),
  );
  const titleOf = ({ step, message, durationMs, status }: Step) => {
    const took = status === "DONE" ? ` (${seconds(durationMs)})` : "";
    return withoutControls(`${step.toLowerCase()}${message === null ? "" : `: ${message}`}${took}`);
  };
  const stderr = terminal.stderr as NodeJS.WriteStream; // it is a terminal
  const ignored = createWritable(() => {}) as NodeJS.WriteStream;
  const logger = new ListrLogger<ListrDefaultRendererLogLevels>({
    processOutput: new ProcessOutput(stderr, ignored),
    useIcons: true,
  });
  const list = new Listr(
    [...rows].map(([name, row]) => ({
      title: name.toLowerCase(),
      task: async (_none, task) => {
        row.task = task;
        if (row.newest) task.title = titleOf(row.newest);
        const step = await row.ended.promise;
        task.title = titleOf(step);
        if (step.status === "SKIPPED") task.skip(task.title);
        if (step.status === "FAILED") throw new Unfinished(titleOf(step));
      },
    })),
    {
      renderer: Renderer,
      rendererOptions: { logger, formatOutput: "truncate" },
      registerSignalListeners: false,
    },
  );
  const drawn = list.run().then(
    () => null,
    (error: unknown) => error,
  );
  return {
    show: (step) => {
      const row = rows.get(step.step);
      if (!row) return; // of a later server
      row.newest = step;
      if (step.status !== "RUNNING") row.ended.resolve(step);
      else if (row.task) row.task.title = titleOf(step);
    },
    say: (text) => {
      for (const { task, newest } of rows.values()) if (task && newest?.status === "RUNNING") task.output = text;
    },
    end: async () => {
      for (const [name, { ended, newest }] of rows) {
        ended.reject(new Unfinished(newest ? titleOf(newest) : name.toLowerCase()));
      }
      const error = await drawn;
      if (error !== null && !(error instanceof Unfinished)) throw error;
    },
  };
}
