import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { countOption, define, type Group, groupOf, option } from "../define.ts";
import {
  executionColumns,
  executionFields,
  followLog,
  type GoOn,
  goOnOptions,
  printLog,
  requestAndGoOn,
  waitFor,
} from "../ended.ts";
import { Failure } from "../failure.ts";
import { readValues, type Schema } from "../input.ts";
import { addTree } from "./tree.ts";

const paramsOption = () => option("--params <file>", "parameters from a file of JSON or YAML; - is standard input");

interface RunOptions extends GoOn {
  params?: string;
  timeout?: number;
  priority?: number;
}

interface Requested {
  id: string;
  status: string;
  reason: string | null;
  finishedAt: string | null;
}

/** Adds `run` and `action run`, which are the same. */
export function addRun(above: Group): void {
  for (const commands of [above, groupOf(above, "action")]) {
    define<RunOptions>(commands, {
      name: "run <action> [parameters...]",
      description: "execute an action, with parameters such as message=hello",
      options: [
        paramsOption(),
        countOption("--timeout <seconds>", "how long it may run"),
        countOption("--priority <number>", "its priority: higher ones are taken first"),
        ...goOnOptions(),
      ],
      examples: [
        "run core.echo message=hello",
        "run core.echo message=hello --follow",
        "run core.sleep seconds=0 --watch",
        "run core.echo --params params.yaml --wait --output json",
        "run core.echo --params - < params.yaml",
      ],
      names: "action",
      run: async (context, [action = "", ...pairs], options) => {
        const parameters = await readValues(context, pairs, options.params, () => schemaOfAction(context, action));
        const input = {
          action,
          ...(parameters === null ? {} : { parameters }),
          ...(options.timeout === undefined ? {} : { timeoutSeconds: options.timeout }),
          ...(options.priority === undefined ? {} : { priority: options.priority }),
        };
        return await requestAndGoOn(context, options, () => request(context, "executeAction", input));
      },
    });
  }
}

async function schemaOfAction(context: Context, ref: string): Promise<Schema> {
  const { actionByRef } = await context.ask<{ actionByRef: { paramSchema: Schema | null } | null }>(
    "query($ref: String!) { actionByRef(ref: $ref) { paramSchema } }",
    { ref },
  );
  return actionByRef?.paramSchema ?? {};
}

async function request(context: Context, mutation: string, input: object): Promise<Requested> {
  const selection = `execution { ${executionFields} }`;
  return (await mutate<{ execution: Requested }>(context.ask, mutation, input, selection)).execution;
}

/** Adds what can be done with executions. */
export function addExecutions(above: Group): void {
  const commands = groupOf(above, "execution");
  const example = "RXhlY3V0aW9uOjE=";
  define<{ follow?: boolean }>(commands, {
    name: "logs <id>",
    description: "print the output of an execution",
    options: [option("--follow", "until it ends")],
    examples: [`logs ${example}`, `logs ${example} --follow`],
    run: async (context, [id = ""], { follow }) =>
      follow ? await followLog(context, id) : void (await printLog(context, id)),
  });
  define(commands, {
    name: "wait <id>",
    description: "wait for the end of an execution, and print its result; fails if it has not completed",
    examples: [`wait ${example}`],
    run: (context, [id = ""]) => waitFor(context, id),
  });
  define<{ reason?: string }>(commands, {
    name: "cancel <ids...>",
    description: "cancel executions",
    options: [option("--reason <text>", "why, for those who read them later")],
    examples: [`cancel ${example}`, `cancel ${example} --reason 'no longer needed'`],
    run: cancel,
  });
  define<RunOptions>(commands, {
    name: "rerun <id> [parameters...]",
    description: "execute an action again, with the same parameters or with others",
    options: [paramsOption(), ...goOnOptions()],
    examples: [`rerun ${example}`, `rerun ${example} message=again --wait`],
    run: async (context, [id = "", ...pairs], options) => {
      const parameters = await readValues(context, pairs, options.params, () => schemaOfExecution(context, id));
      const input = { id, ...(parameters === null ? {} : { parameters }) };
      return await requestAndGoOn(context, options, () => request(context, "rerunExecution", input));
    },
  });
  addTree(commands, example);
}

async function schemaOfExecution(context: Context, id: string): Promise<Schema> {
  const { execution } = await context.ask<{ execution: { action: { paramSchema: Schema | null } | null } | null }>(
    "query($id: ID!) { execution(id: $id) { action { paramSchema } } }",
    { id },
  );
  return execution?.action?.paramSchema ?? {};
}

/** Cancels each of them, also after one that cannot be. */
async function cancel(context: Context, ids: string[], { reason }: { reason?: string }): Promise<number> {
  const cancelled: Requested[] = [];
  let refused = 0;
  for (const id of ids) {
    try {
      cancelled.push(await request(context, "cancelExecution", { id, ...(reason === undefined ? {} : { reason }) }));
    } catch (error) {
      if (!(error instanceof Failure) || ids.length === 1) throw error;
      context.note(`error: ${id}: ${error.message}`);
      refused += 1;
    }
  }
  if (cancelled.length > 0) await context.printRows(cancelled, executionColumns, "");
  return refused === 0 ? 0 : 1;
}
