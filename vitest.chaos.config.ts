import { defineConfig } from "vitest/config";
import suite from "./vitest.config.ts";

// What runs for minutes, by `npm run chaos`.
export default defineConfig({
  test: {
    ...suite.test,
    include: ["tests/chaos/*.chaos.ts"],
    testTimeout: 60 * 60_000,
    hookTimeout: 120_000,
  },
});
