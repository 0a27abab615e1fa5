import { readFileSync } from "node:fs";

/** An instruction of a Dockerfile; `words` are its arguments, those of the JSON form without their quotes. */
export interface Instruction {
  name: string;
  text: string;
  words: string[];
}

/** A stage of a Dockerfile. */
export interface Stage {
  image: string;
  name: string | null;
  instructions: Instruction[];
}

/** Returns the stages of a Dockerfile, with continued lines joined and comments removed. */
export function readDockerfile(file: string): Stage[] {
  const lines = readFileSync(file, "utf8")
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, " ")
    .split("\n");
  const stages: Stage[] = [];
  for (const line of lines.filter((each) => each.trim() !== "")) {
    const [, name = "", text = ""] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
    if (name === "") throw new Error(`not an instruction: ${line}`);
    if (name !== "FROM") {
      stages.at(-1)?.instructions.push({ name, text, words: wordsOf(text) });
      continue;
    }
    const [, image = "", , as = null] = /^(\S+)( AS (\S+))?$/.exec(text) ?? [];
    stages.push({ image, name: as, instructions: [] });
  }
  return stages;
}

function wordsOf(text: string): string[] {
  const list = /\[.*\]$/.exec(text)?.[0];
  return list === undefined ? text.split(/\s+/) : (JSON.parse(list) as string[]);
}

/** Returns the only instruction of that name in the stage. Throws when there is another number of them. */
export function only(stage: Stage, name: string): Instruction {
  const found = stage.instructions.filter((each) => each.name === name);
  if (found.length !== 1 || !found[0]) throw new Error(`${found.length} instructions ${name}`);
  return found[0];
}

/** Returns the top-level entries that a .dockerignore of the form "nothing but these" lets through. */
export function contextEntries(file: string): string[] {
  const [first, ...more] = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (first !== "*" || more.some((line) => !/^![\w.-]+$/.test(line))) throw new Error(`${file} has another form`);
  return more.map((line) => line.slice(1));
}
