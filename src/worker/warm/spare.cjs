// Waits, before the main module is loaded, until an action is given to this process; `node.ts` starts it and describes the protocol.
const fs = require("node:fs");

const control = 3;

const leave = () => process.kill(process.pid, "SIGKILL");

function read(size) {
  const data = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const count = fs.readSync(control, data, at, size - at);
    if (count === 0) leave(); // the worker has ended
    at += count;
  }
  return data;
}

/** Lets the system show these arguments and this environment: by them the processes of a lost worker are found. */
function show(args, environment) {
  const stat = fs.readFileSync("/proc/self/stat", "latin1");
  // After the command's name in parentheses, which may hold any character; the first of these is the 48th field.
  const [argStart, argEnd, envStart, envEnd] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(45, 49)
    .map(Number);
  const memory = fs.openSync("/proc/self/mem", "r+");
  for (const [start, end, words] of [
    [argStart, argEnd, args],
    [envStart, envEnd, environment],
  ]) {
    const room = Buffer.alloc(end - start);
    Buffer.from(words.map((word) => `${word}\0`).join("")).copy(room, 0, 0, room.length - 1);
    fs.writeSync(memory, room, 0, room.length, start);
  }
  fs.closeSync(memory);
}

function setEnvironment(variables, args) {
  const home = process.env.HOME;
  delete process.env.ATTUNE_ROOM;
  delete process.env.NODE_OPTIONS;
  // All of them again: those of the start are in the memory that is overwritten below.
  const all = { ...process.env, ...variables };
  for (const [name, value] of Object.entries(all)) {
    delete process.env[name];
    process.env[name] = value;
  }
  const own = Object.keys(all).sort((a, b) => Number(b in variables) - Number(a in variables));
  const words = own.map((name) => `${name}=${all[name]}`);
  show([process.argv0, ...process.execArgv, ...args], words);
  if (all.HOME !== home) require("node:module")._initPaths();
}

/** Makes this process what a new one for the action would be. */
function become({ directory, args, variables, stdin }) {
  process.chdir(directory);
  setEnvironment(variables, args);
  if (stdin === null) {
    fs.closeSync(0);
    fs.openSync("/dev/null", "r"); // gets the lowest number, which is 0
  }
  process.argv.splice(1, process.argv.length, ...args);
}

// Worker threads of the action load this file too, and find no such variable.
if (process.env.ATTUNE_ROOM !== undefined) {
  // What nearly every action loads. None of it keeps anything of an action.
  for (const name of ["net", "stream", "tty", "url", "util"]) require(`node:${name}`);
  import("node:fs").catch(leave);
  try {
    become(JSON.parse(read(read(4).readUInt32BE()).toString()));
  } catch {
    leave(); // nothing of the action has run: the worker starts it in another way
  }
  fs.writeSync(control, "1");
  fs.closeSync(control);
}
Object.defineProperty(process, "_preload_modules", { value: [] });
delete require.cache[__filename];
