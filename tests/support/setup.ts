import { afterAll } from "vitest";
import { removeClones } from "./database.ts";

// Registered before each file's own hooks, and so run after them: whoever used the databases has stopped.
afterAll(removeClones);
