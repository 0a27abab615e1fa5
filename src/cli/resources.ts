import { entities } from "./entities.ts";
import { records } from "./records.ts";
import type { Resource } from "./resource.ts";

/** Everything that has the commands `list` and `show`. */
export const resources: readonly Resource[] = [...entities, ...records];

/** Returns the resource of that name. */
export function resourceOf(name: string): Resource {
  const found = resources.find((resource) => resource.name === name);
  if (!found) throw new Error(`there is no resource "${name}"`);
  return found;
}
