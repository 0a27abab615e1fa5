import { afterAll } from "vitest";
import { removeClones } from "./database.ts";

// Registered before each file's own hooks, and therefore run after them: the databases are closed.
afterAll(removeClones);
