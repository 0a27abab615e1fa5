#!/usr/bin/env node
// Plain JavaScript on purpose: an older Node must be able to read this far and say what is wrong.
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
  process.stderr.write(
    `attune needs Node.js 24 or newer, this is ${process.versions.node}: in a checkout, "npm start" brings its own.\n`,
  );
  process.exit(1);
}

if (process.argv[2] === "--version") {
  // Neither a stream nor a module more than it takes: this is as fast as Node.js itself.
  const { readFileSync, writeSync } = process.getBuiltinModule("node:fs");
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  writeSync(1, `${version}\n`);
  process.exit();
}

await import("./imports.js");
const { main } = await import("./main.ts");
await main();
