import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { type BenchDatabase, createPglite, createPostgres, whyUnreachable } from "./database.ts";
import { describeMachine, table, writeSection } from "./report.ts";
import { openStage, type Stage } from "./stage.ts";

/** The options of a benchmark that has a section of docs/benchmarks.md: `--quick` measures less, `--write` writes the section. */
export const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, write: { type: "boolean" } } });

/** Measures on PostgreSQL, if it can be reached, and on the embedded database without fsync; prints the rows of the section's table, or writes them. */
export async function runSection(
  name: Parameters<typeof writeSection>[0],
  { head, measure }: { head: string[]; measure: (stage: Stage, database: string) => Promise<string[][]> },
): Promise<void> {
  const loadBefore = loadavg()[0] ?? 0;
  const started = performance.now();
  const lines: string[][] = [];
  const versions: string[] = [];
  const reason = await whyUnreachable();
  if (reason !== null) process.stderr.write(`PostgreSQL is not measured: ${reason}\n`);
  const databases: (() => BenchDatabase | Promise<BenchDatabase>)[] = [
    ...(reason === null ? [createPostgres] : []),
    () => createPglite(false),
  ];
  for (const create of databases) {
    await using database = await create();
    await using stage = await openStage(database);
    versions.push(`${database.name.split(",")[0]} ${stage.version}`);
    lines.push(...(await measure(stage, database.name)));
  }
  const given = [options.quick ? " --quick" : "", options.write ? " --write" : ""].join("");
  const machine = describeMachine({
    command: `npm run bench:${name}${given && ` --${given}`}`,
    versions,
    loadBefore,
    seconds: (performance.now() - started) / 1000,
  });
  const report = [machine, table(head, lines)].join("\n\n");
  process.stdout.write(`${report}\n`);
  if (options.write) writeSection(name, report);
}
