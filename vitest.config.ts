import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    // Two copies of graphql in one process refuse each other's schemas: everyone takes this one.
    alias: [
      { find: /^graphql$/, replacement: fileURLToPath(new URL("node_modules/graphql/index.mjs", import.meta.url)) },
    ],
  },
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/template.ts"],
    isolate: false,
    maxWorkers: 3, // on two cores: much of the time of a test that runs processes is waiting
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    env: { NODE_ENV: "test" },
  },
});
