import { sql } from "drizzle-orm";
import { loadDirectory } from "../support/pack.ts";
import type { World } from "../support/world.ts";

/** The manifest of a sensor of the pack `watch` in a runner, that emits events of the pack's triggers of these names. */
const manifestOf = (name: string, { runner, triggers, more }: Required<SensorFile>) => `
ref: watch.${name}
label: ${name}
runner_type: ${runner}
entry_point: sensors/${name}
trigger_types: [${triggers.map((each) => `watch.${each}`).join(", ")}]
${more}`;

interface SensorFile {
  runner?: "shell" | "python" | "node";
  /** By default one of its own name. */
  triggers?: string[];
  /** More lines of its manifest. */
  more?: string;
}

/** Returns the files of the pack `watch` with sensors, by their names: each with its program. */
export function sensorPack(
  sensors: Readonly<Record<string, SensorFile & { program: string }>>,
  files: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const all: Record<string, string> = { "pack.yaml": "ref: watch\nlabel: Watch\nversion: 1.0.0\n", ...files };
  for (const [name, { program, runner = "shell", triggers = [name], more = "" }] of Object.entries(sensors)) {
    all[`sensors/${name}.yaml`] = manifestOf(name, { runner, triggers, more });
    all[`sensors/${name}`] = program;
    for (const each of triggers) {
      all[`triggers/${each}.yaml`] =
        `ref: watch.${each}\nlabel: ${each}\nparameters: {path: {type: string}}\noutput: {n: {type: integer, required: true}, text: {type: string}}\n`;
    }
  }
  return all;
}

/** What a test knows of a sensor's process. */
export interface ProcessRow {
  status: string;
  pid: number | null;
  restarts: number;
  failures: number;
  lastError: string | null;
  generation: string;
}

/** Returns functions about the sensors of the pack `watch` in a world. */
export function watching(world: World) {
  const processOf = async (name: string): Promise<ProcessRow | null> =>
    (
      await world.all<ProcessRow>(
        sql`select p.status::text as "status", p.pid as "pid", p.restarts as "restarts", p.failures as "failures", p.last_error as "lastError",
            p.generation::text as "generation"
          from attune.sensor s join attune.sensor_process p on p.sensor = s.id where s.ref = ${`watch.${name}`}`,
      )
    )[0] ?? null;
  return {
    load: (directory: string) => loadDirectory(world.services, directory),
    processOf,
    /** The payloads of the events of a trigger, in the order in which they were stored. */
    payloads: async (trigger: string) =>
      (
        await world.all<{ payload: unknown }>(
          sql`select payload from attune.event where trigger_ref = ${`watch.${trigger}`} order by id`,
        )
      ).map(({ payload }) => payload),
    /** The log of a sensor on one stream. */
    log: async (name: string, stream: "stderr" | "system") =>
      (
        await world.one<{ text: string }>(
          sql`select coalesce(string_agg(l.text, '' order by l.seq), '') as text from attune.sensor s left join attune.sensor_log l
              on l.sensor = s.id and l.stream = ${stream}::attune.log_stream where s.ref = ${`watch.${name}`}`,
        )
      ).text,
  };
}
