import { mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { invalid } from "../errors.ts";

/**
 * Writes the files of a new pack into the directory, which is created or empty: an action in a shell, a rule, and tests that pass. Returns the paths of the
 * files. Throws InvalidInputError for a ref that no pack can have, and for a directory with files in it.
 */
export async function createPackFiles(ref: string, directory: string): Promise<string[]> {
  if (!/^[a-z][a-z0-9_-]{1,99}$/.test(ref)) {
    throw invalid("ref", "expected lower-case letters, digits, _ and -, a letter first, at least two characters");
  }
  const present = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  if (present.length > 0) throw invalid("directory", `"${directory}" is not empty: name a new directory`);
  const files = filesOf(ref);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content, { flag: "wx", mode: path.endsWith(".sh") ? 0o755 : 0o644 });
  }
  return Object.keys(files);
}

const filesOf = (ref: string): Record<string, string> => ({
  "pack.yaml": `ref: ${ref}
label: ${ref}
version: 0.1.0
description: What the pack is for.
testing:
  runners:
    shell:
      type: script
      entry_point: tests/run.sh
      result_format: tap
`,
  "README.md": `# ${ref}

| action | what it does |
|---|---|
| \`${ref}.greet\` | greets somebody by their \`name\` |

\`attune pack check .\` finds mistakes in the files, \`attune pack test .\` runs the tests.
`,
  "actions/greet.yaml": `ref: ${ref}.greet
label: Greet
description: Greets somebody.
runner_type: shell
entry_point: actions/greet.sh
parameter_delivery: file
parameter_format: dotenv
parameters:
  name:
    type: string
    description: Whom to greet.
    default: world
`,
  "actions/greet.sh": `#!/bin/sh
. "$ATTUNE_PARAMETER_FILE"
printf 'Hello, %s.\\n' "$name"
`,
  "triggers/visit.yaml": `ref: ${ref}.visit
label: Visit
description: Somebody came by.
webhook: true
`,
  "rules/greet_visitors.yaml": `ref: ${ref}.greet_visitors
label: Greet visitors
description: Greets whom a visit names.
trigger_ref: ${ref}.visit
action_ref: ${ref}.greet
conditions:
  - field: body.name
    operator: exists
action_params:
  name: "{{ event.payload.body.name }}"
`,
  "tests/run.sh": `#!/bin/sh
# Prints TAP: a line for each test, and their number.
file=$(mktemp) || exit 1
trap 'rm -f "$file"' EXIT
echo "name='reader'" >"$file"
echo 1..1
if [ "$(ATTUNE_PARAMETER_FILE=$file sh actions/greet.sh)" = 'Hello, reader.' ]; then
  echo 'ok 1 - greets by name'
else
  echo 'not ok 1 - greets by name'
fi
`,
});
