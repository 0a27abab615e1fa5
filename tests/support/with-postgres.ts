import { spawn } from "node:child_process";

// Runs a command with the tests' PostgreSQL: the one at ATTUNE_TEST_DATABASE_URL, else one on this machine. The suite creates
// its databases there and drops them.
const url = process.env["ATTUNE_TEST_DATABASE_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres";
const [command = "vitest", ...args] = process.argv.slice(2);
const child = spawn(command, args, { stdio: "inherit", env: { ...process.env, ATTUNE_TEST_DATABASE_URL: url } });
child.on("exit", (code) => process.exit(code ?? 1));
