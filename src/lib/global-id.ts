/**
 * Returns the API's id of an object, for use outside of GraphQL: base64 of `<type>:<number>`, the format of the API builder's Relay
 * plugin.
 */
export function globalId(
  type:
    | "Event"
    | "Enforcement"
    | "Execution"
    | "Artifact"
    | "ArtifactVersion"
    | "Pack"
    | "PackEnvironment"
    | "PackTestExecution"
    | "Sensor",
  id: bigint | string,
): string {
  return Buffer.from(`${type}:${id}`).toString("base64");
}
