import { z } from "zod";

/** How the container of an action is run. */
export const containerManifest = z.strictObject({
  image: z
    .string()
    .max(300)
    .regex(/^[a-zA-Z0-9][\w./:@-]*$/, "must be the name of an image such as docker.io/library/alpine:3.20"),
  /** Instead of the image's own; the entry point follows it. */
  command: z.array(z.string().max(4000)).max(100).default([]),
  network: z.enum(["none", "default"]).default("none"),
  memory_mb: z.int().min(16).max(1_048_576).default(512),
  cpus: z.number().min(0.01).max(256).default(1),
  pids: z.int().min(1).max(100_000).default(256),
  pull: z.enum(["missing", "always", "never"]).default("missing"),
});

/** What an action's row stores of it. `entry_point`: a file of the pack that the command runs. */
export type ContainerSpec = z.output<typeof containerManifest> & { entry_point: string | null };
