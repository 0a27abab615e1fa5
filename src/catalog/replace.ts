import { eq, getTableName, sql } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import type { Db } from "../db/client.ts";
import type { action } from "../db/tables/action.ts";
import type { permissionSet } from "../db/tables/permission.ts";
import type { rule } from "../db/tables/rule.ts";
import type { runtime } from "../db/tables/runtime.ts";
import type { sensor } from "../db/tables/sensor.ts";
import type { trigger } from "../db/tables/trigger.ts";
import { InvalidInputError, type Issue, nounOf } from "../errors.ts";
import type { CheckedPack } from "./read.ts";

type Owned = typeof runtime | typeof permissionSet | typeof sensor | typeof trigger | typeof action | typeof rule;
/** Flags that users change; the files set them on the first load only. */
const switched = new Set(["enabled", "webhookEnabled"]);

/** The pack whose components are loaded. */
export interface Owner {
  source: CheckedPack;
  packId: bigint;
  /** Whether its file enables it, and whether that differs from what was loaded before. */
  enabled: boolean;
  isSwitched: boolean;
  isByHand: boolean;
  adopts: boolean;
}

/** Upserts the pack's rows of one table and deletes those that the files no longer have. Keeps rows created by hand. Throws InvalidInputError. */
export async function replace(
  db: Db,
  owner: Owner,
  table: Owned,
  values: readonly ({ ref: string } & Record<string, unknown>)[],
): Promise<void> {
  const { source, packId, enabled, isSwitched, adopts } = owner;
  await requireNoneByHand(db, owner, table, values);
  const refs = JSON.stringify(values.map(({ ref }) => ref));
  const adhoc = "isAdhoc" in table ? sql`and not ${table.isAdhoc}` : sql``;
  await db.execute(
    sql`delete from ${table} where ${table.packId} = ${String(packId)}::bigint ${adhoc}
      and ${table.ref} not in (select jsonb_array_elements_text(${refs}::text::jsonb))`,
  );
  const own = { packId, packRef: source.pack.ref };
  const issues: Issue[] = [];
  for (const given of values) {
    const value = "enabled" in given ? { ...given, enabled: enabled && given["enabled"] === true } : given;
    const keeps = (name: string) => switched.has(name) && !(isSwitched && name === "enabled");
    const set = Object.fromEntries(Object.entries({ ...value, ...own }).filter(([name]) => !keeps(name)));
    const adopted = {
      ...("isAdhoc" in table ? { isAdhoc: false } : {}),
      ...("ownerId" in table ? { ownerId: null } : {}),
    };
    // A row created by hand must not get the content of the pack's file.
    const isOwn = "isAdhoc" in table ? sql`not ${table.isAdhoc}` : sql`${table.packId} = ${String(packId)}::bigint`;
    const done = await db
      .insert(table as PgTable)
      .values({ ...value, ...own })
      .onConflictDoUpdate({
        target: table.ref,
        set: adopts ? { ...set, ...adopted } : set,
        ...(adopts ? {} : { setWhere: isOwn }),
      })
      .returning({ id: table.id });
    if (done.length === 0) issues.push(source.issueAt(value.ref, ["ref"], clash(value.ref, getTableName(table))));
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/**
 * The first files of a pack that was created by hand would remove its runtimes, or replace them: of all other components each row says whether it was
 * created by hand. Throws InvalidInputError.
 */
async function requireNoneByHand(
  db: Db,
  { source, packId, isByHand, adopts }: Owner,
  table: Owned,
  values: readonly { ref: string }[],
): Promise<void> {
  if (!isByHand || "isAdhoc" in table) return;
  const found = await db
    .select({ ref: table.ref })
    .from(table as typeof runtime)
    .where(eq(table.packId, packId));
  const isBrought = (ref: string) => values.some((value) => value.ref === ref);
  const issues = found.flatMap(({ ref }): Issue[] => {
    if (isBrought(ref)) return adopts ? [] : [source.issueAt(ref, ["ref"], clash(ref, getTableName(table)))];
    return [source.issueAt(source.pack.ref, ["ref"], removal(ref, getTableName(table)))];
  });
  if (issues.length > 0) throw new InvalidInputError(issues);
}

const verbFor = (table: string) =>
  `delete${table.replaceAll(/(?:^|_)([a-z])/g, (_match, letter: string) => letter.toUpperCase())}`;

function clash(ref: string, table: string): string {
  const noun = nounOf(table);
  const pack = ref.split(".", 1)[0];
  return `is also the ref of ${noun === "action" ? "an" : "a"} ${noun} that was created by hand: rename one of them, delete the ${noun} "${ref}" with ${verbFor(table)} on a server without this pack, or start once with ATTUNE__PACKS__ADOPT=${pack}, so that the file replaces it`;
}

function removal(ref: string, table: string): string {
  const noun = nounOf(table);
  return `is the ref of a pack that was created by hand and has the ${noun} "${ref}", which these files would remove: add it to them, or delete it with ${verbFor(table)} on a server without this pack`;
}
