/**
 * The id by which the API knows an object, for what speaks of objects outside of GraphQL: base64 of `<type>:<number>`, as the
 * Relay plugin of the API's builder writes it.
 */
export function globalId(type: "Event" | "Execution" | "ArtifactVersion", id: bigint | string): string {
  return Buffer.from(`${type}:${id}`).toString("base64");
}
