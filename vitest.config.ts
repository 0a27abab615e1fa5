import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that wait longest, first: begun last, they would leave the other processor idle at the end. */
const long = [
  "graphql/plans",
  "fault/kill",
  "fault/bomb",
  "access/oracle",
  "fault/disk",
  "execution/hostile",
  "graphql/fuzz",
  "start/start",
  "worker/answers",
  "graphql/filters",
  "web/graphiql",
  "wire/recipes",
  "rule/timer",
  "inquiry/flow",
];
const placeOf = ({ moduleId }: TestSpecification) => {
  const place = long.findIndex((name) => moduleId.endsWith(`/tests/${name}.test.ts`));
  return place === -1 ? long.length : place;
};

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => placeOf(a) - placeOf(b));
  }
}

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/template.ts"],
    setupFiles: ["tests/support/setup.ts"],
    // Node runs the sources itself, as it does for their user.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    // The optimising compiler would take longer over the embedded database than it saves.
    execArgv: ["--import", "./src/imports.js", "--liftoff-only"],
    isolate: false,
    maxWorkers: 3, // on two cores: much of the time of a test that runs processes is waiting
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    env: { NODE_ENV: "test" },
  },
});
