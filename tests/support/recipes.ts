import { readFileSync } from "node:fs";

/** Returns the block of docs/clients.md with that name, such as `relay`. Throws if there is none. */
export function findRecipe(name: string): string {
  const page = readFileSync("docs/clients.md", "utf8");
  const escaped = name.replaceAll(".", "\\.");
  const [, text] = new RegExp(`\`\`\`\\w+ ${escaped}\\n(.*?)\`\`\``, "s").exec(page) ?? [];
  if (!text) throw new Error(`docs/clients.md has no recipe ${name}`);
  return text;
}
