import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** Writes a wheel of the library `answer` into `directory`; its `value` is the text. */
export function writeWheel(directory: string, version: string, value: string): void {
  mkdirSync(directory, { recursive: true });
  const info = `answer-${version}.dist-info`;
  const files = {
    "answer/__init__.py": "",
    // Imported by itself: an action may import it long after its start.
    "answer/late.py": `value = ${JSON.stringify(value)}\n`,
    [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: answer\nVersion: ${version}\n`,
    [`${info}/WHEEL`]: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    [`${info}/RECORD`]: "",
  };
  const program = `import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, text in json.load(sys.stdin).items(): wheel.writestr(name, text)`;
  execFileSync("python3", ["-c", program, join(directory, `answer-${version}-py3-none-any.whl`)], {
    input: JSON.stringify(files),
  });
}

/** Writes a tarball of the npm package `answer` into `directory`; it exports the text as `value`, and `scripts` run at its installation. */
export function writeTarball(
  directory: string,
  version: string,
  value: string,
  scripts: Record<string, string> = {},
): void {
  const files = { "index.js": `exports.value = ${JSON.stringify(value)};\n` };
  writePackage(directory, { name: "answer", version, main: "index.js", scripts }, files);
}

/** Writes a tarball of an npm package into `directory`. */
export function writePackage(
  directory: string,
  manifest: { name: string; version: string; main?: string; scripts?: Record<string, string> },
  files: Readonly<Record<string, string>>,
): void {
  mkdirSync(directory, { recursive: true });
  const source = mkdtempSync(join(tmpdir(), "attune-tarball-"));
  for (const [path, content] of Object.entries({ "package.json": JSON.stringify(manifest), ...files })) {
    const file = join(source, "package", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  execFileSync("tar", ["-czf", join(directory, `${manifest.name}-${manifest.version}.tgz`), "-C", source, "package"]);
  rmSync(source, { recursive: true });
}
