import { defineConfig } from "vitest/config";

// What `npm run check` holds without a database.
export default defineConfig({ test: { include: ["tests/architecture.test.ts"] } });
