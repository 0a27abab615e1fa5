import { sql } from "drizzle-orm";
import { rows } from "../../db/client.ts";
import type { Services } from "../../db/services.ts";
import { readOwnVersion } from "../../lib/program.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";

interface SystemInfo {
  version: string;
  nodeVersion: string;
  startedAt: Date;
  database: Services["kind"];
  databaseVersion: string;
  databaseBytes: bigint;
  migrations: number;
  workers: number;
  feedPosition: string;
  feedLagSeconds: number;
}

const SystemInfoType = builder.objectRef<SystemInfo>("SystemInfo").implement({
  description: "The installation, as the process that responds knows it.",
  fields: (t) => ({
    version: t.exposeString("version", { description: "The version of Attune." }),
    nodeVersion: t.exposeString("nodeVersion", { description: "The version of Node.js." }),
    startedAt: t.expose("startedAt", { type: "DateTime", description: "When the process started." }),
    database: t.exposeString("database", { description: "`postgres`, or `pglite` for the embedded one." }),
    databaseVersion: t.exposeString("databaseVersion", { description: "The version of PostgreSQL." }),
    databaseBytes: t.expose("databaseBytes", { type: "BigInt", description: "The size of the database." }),
    migrations: t.exposeInt("migrations", { description: "How many migrations the database has." }),
    workers: t.exposeInt("workers", { description: "The workers that send heartbeats." }),
    feedPosition: t.exposeString("feedPosition", {
      description: "The cursor of the newest change that the process has read.",
    }),
    feedLagSeconds: t.exposeFloat("feedLagSeconds", {
      description: "For how long an open transaction has been hiding committed changes.",
    }),
  }),
});

async function describeSystem({ services, db, feed }: Context): Promise<SystemInfo> {
  const version = readOwnVersion();
  const [found] = await rows<{ version: string; bytes: string; migrations: number; workers: number }>(
    db,
    sql`select current_setting('server_version') as version, pg_database_size(current_database())::text as bytes,
        (select count(*) from attune_migrations.migration)::int as migrations,
        (select count(*) from attune.healthy_worker)::int as workers`,
  );
  return {
    version,
    nodeVersion: process.versions.node,
    startedAt: new Date(Math.round(performance.timeOrigin)),
    database: services.kind,
    databaseVersion: found?.version ?? "",
    databaseBytes: BigInt(found?.bytes ?? 0),
    migrations: found?.migrations ?? 0,
    workers: found?.workers ?? 0,
    feedPosition: feed.start().cursor,
    feedLagSeconds: feed.lagMs() / 1000,
  };
}

builder.queryField("systemInfo", (t) =>
  t.field({
    type: SystemInfoType,
    nullable: true,
    authScopes: { may: "system:read" },
    complexity: 20,
    description: "The versions, the database and the feed of the installation.",
    resolve: (_root, _args, ctx) => describeSystem(ctx),
  }),
);
