import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Tests that end processes, or are about starts, files and migrations: both databases are under test in them. */
const faults = [
  "fault/*",
  "start/start",
  "db-admin/commands",
  "db/{migration,lifecycle}",
  "execution/migrated",
  "artifact/kill",
  "worker/{orphans,scratch}",
  "rule/timer-processes",
  "sensor/processes",
];

/** Tests of interpreters, containers, a browser and command lines as processes, and those with thousands of generated cases. */
const long = [
  "access/{matrix,matrix-live,matrix-mutations,matrix-verbs,oracle,payload}",
  "artifact/{http,left}",
  "author/st2",
  "cli/{commands,examples,install,pack,process}",
  "execution/hostile",
  "flow/{canary,cloud-events,github,trace}",
  "graphql/{filters,fuzz,plans}",
  "lang/bombs",
  "pack-test/parse",
  "retention/retention",
  "rule/{executors,explain,many-changes,many-rules,rule-index,timer}",
  "rule/windows/windows",
  "web/graphiql",
  "wire/{bodies,recipes,types}",
  "worker/{answers,claim-age,container,environment,environments,install,pack-tests,process,selectors,warm,warm-actions}",
];

/** The files that wait or compute longest, first: begun last, they would leave the other processor idle at the end. */
const first = [
  "access/oracle",
  "fault/kill",
  "fault/bomb",
  "graphql/plans",
  "pack-test/parse",
  "db-admin/commands",
  "worker/environments",
  "worker/warm",
  "start/start",
  "web/graphiql",
  "execution/hostile",
  "access/matrix-mutations",
  "worker/selectors",
  "worker/answers",
  "wire/recipes",
  "rule/timer",
  "inquiry/flow",
];
const placeOf = ({ moduleId }: TestSpecification) => {
  const place = first.findIndex((name) => moduleId.endsWith(`/tests/${name}.test.ts`));
  return place === -1 ? first.length : place;
};

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b));
  }
}

const files = (names: readonly string[]) => names.map((name) => `tests/${name}.test.ts`);

/** The patterns of the files of each suite but `quick`, and of those that are started first. */
export const listed = { faults: files(faults), long: files(long), first: files(first) };

/** One of the suites; tests/README.md says which is for what. */
const suite = (name: string, include: readonly string[], exclude: readonly string[] = []) => ({
  test: {
    name,
    include: files(include),
    exclude: files(exclude),
    setupFiles: ["tests/support/setup.ts"],
    // Node runs the sources itself, as it does for their user.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    // The optimising compiler would take longer over the embedded database than it saves.
    execArgv: ["--import", "./src/imports.js", "--liftoff-only"],
    isolate: false,
    pool: "forks" as const,
    // Some start ten processes, and a busy machine takes ten seconds for each.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    env: { NODE_ENV: "test" },
  },
});

export default defineConfig({
  test: {
    globalSetup: ["tests/support/template.ts"], // once for all suites
    maxWorkers: 3, // on two cores: much of the time of a test that runs processes is waiting
    sequence: { sequencer: LongestFirst },
    projects: [suite("quick", ["**/*"], [...faults, ...long]), suite("faults", faults), suite("long", long)],
  },
});
