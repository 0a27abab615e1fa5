import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createArtifact, deleteArtifact } from "../../src/artifact/artifact.ts";
import { receiveContent, type StorableContent } from "../../src/artifact/files.ts";
import { pruneArtifacts, sweepFiles } from "../../src/artifact/retention.ts";
import { addVersion, readVersion } from "../../src/artifact/version.ts";
import type { Services } from "../../src/db/services.ts";
import { write } from "../../src/db/tx.ts";
import { createArtifactKeeper } from "../../src/executor/retention.ts";
import { commit } from "../support/commit.ts";
import { onPostgres } from "../support/database.ts";
import { createWorld, type World } from "../support/world.ts";

const mib = 1024 * 1024;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let world: World;
let count = 0;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const directory = () => world.services.artifactsDir ?? "";
const files = () => {
  if (!existsSync(directory())) return [];
  const prefixes = readdirSync(directory()).filter((name) => name !== "tmp");
  return prefixes.flatMap((prefix) => readdirSync(join(directory(), prefix)).map((name) => `${prefix}/${name}`));
};
const temporaryFiles = () => (existsSync(join(directory(), "tmp")) ? readdirSync(join(directory(), "tmp")) : []);

async function* inPieces(bytes: Uint8Array, length = 64 * 1024) {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function artifact(fields: Partial<Parameters<typeof createArtifact>[2]> = {}): Promise<string> {
  count += 1;
  const input = { ref: `version/${count}`, type: "file_binary" as const, ...fields };
  return String((await commit(world.services, createArtifact, world.session, input)).id);
}

async function add(id: string, bytes: Uint8Array, services: Services = world.services) {
  await using received = await receiveContent(services, inPieces(bytes));
  const content = await received.keep();
  return await write(services, (tx) =>
    addVersion(tx, { artifact: id, execution: null, contentType: "application/octet-stream", content }),
  );
}

const stored = (id: string) =>
  world.all<{
    id: string;
    version: number;
    size: number;
    sha256: string;
    storageKey: string | null;
    held: number | null;
  }>(
    sql`select id::text, version, size::int, sha256, storage_key as "storageKey", octet_length(content) as held
      from attune.artifact_version where artifact = ${id}::bigint order by version`,
  );

async function read(services: Services, id: string, range?: { start: number; end: number }): Promise<Buffer> {
  const version = await world.one<{ id: string; storageKey: string | null; size: number }>(
    sql`select id::text, storage_key as "storageKey", size::int from attune.artifact_version where id = ${id}::bigint`,
  );
  const pieces: Buffer[] = [];
  for await (const piece of readVersion(services, version, range ?? { start: 0, end: version.size })) {
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

const age = (id: string, interval: string, version?: number) =>
  world.all(
    sql`update attune.artifact_version set created = now() - ${interval}::text::interval where artifact = ${id}::bigint
      and version = coalesce(${version ?? null}::int, version)`,
  );

/** The trigger sets `updated` on every update but this one. */
async function ageArtifact(id: string, interval: string): Promise<void> {
  await world.services.db.execute(sql`alter table attune.artifact disable trigger artifact_touch`);
  await world.all(
    sql`update attune.artifact set updated = now() - ${interval}::text::interval where id = ${id}::bigint`,
  );
  await world.services.db.execute(sql`alter table attune.artifact enable trigger artifact_touch`);
}

describe("a version", () => {
  test.each([
    ["nothing", 0],
    ["a byte", 1],
    ["1 MiB", mib],
  ])("of %s is stored in the row", async (_name, size) => {
    const id = await artifact();
    const bytes = randomBytes(size);
    const before = files().length;
    await add(id, bytes);
    expect(await stored(id)).toMatchObject([{ version: 1, size, sha256: sha256(bytes), storageKey: null, held: size }]);
    expect(files()).toHaveLength(before);
    const [version] = await stored(id);
    expect((await read(world.services, version?.id ?? "")).equals(bytes)).toBe(true);
  });

  test("of more is stored in a file, named by its hash", async () => {
    const id = await artifact();
    const bytes = randomBytes(mib + 1);
    await add(id, bytes);
    const [version] = await stored(id);
    expect(version).toMatchObject({ size: mib + 1, sha256: sha256(bytes), held: null });
    expect(version?.storageKey).toMatch(new RegExp(`^${sha256(bytes).slice(0, 2)}/${sha256(bytes)}-`));
    expect(files()).toContain(version?.storageKey);
    expect(temporaryFiles()).toEqual([]);
    expect((await read(world.services, version?.id ?? "")).equals(bytes)).toBe(true);
    const range = { start: mib - 10, end: mib + 1 };
    expect((await read(world.services, version?.id ?? "", range)).equals(bytes.subarray(mib - 10))).toBe(true);
  });

  test("without a shared directory, up to 32 MiB are stored in the row, and more is refused", async () => {
    const withoutDirectory: Services = { ...world.services, artifactsDir: null };
    const id = await artifact();
    const bytes = randomBytes(3 * mib + 7);
    const before = files().length;
    await add(id, bytes, withoutDirectory);
    const [version] = await stored(id);
    expect(version).toMatchObject({ size: bytes.length, held: bytes.length, storageKey: null, sha256: sha256(bytes) });
    expect(files()).toHaveLength(before);
    expect((await read(withoutDirectory, version?.id ?? "")).equals(bytes)).toBe(true);
    const range = { start: mib - 3, end: 2 * mib + 5 };
    expect(
      (await read(withoutDirectory, version?.id ?? "", range)).equals(bytes.subarray(range.start, range.end)),
    ).toBe(true);
    expect(await world.all(sql`select oid::text from pg_largeobject_metadata`)).toEqual([]);

    const endless = async function* () {
      const piece = Buffer.alloc(mib);
      for (;;) yield piece;
    };
    await expect(receiveContent(withoutDirectory, endless())).rejects.toMatchObject({
      issues: [{ path: "size", message: expect.stringContaining("ATTUNE__ARTIFACTS__DIR") }],
    });
  });

  test("updates the artifact's size, type and `updated`, and adds a notification", async () => {
    const id = await artifact();
    const readArtifact = () =>
      world.one<{ size: number | null; type: string | null; updated: string; notifications: number }>(
        sql`select size::int, content_type as type, updated::text, (select count(*)::int from attune.notification n
          where n.entity_type = 'artifact' and n.entity = a.id) as notifications from attune.artifact a where id = ${id}::bigint`,
      );
    const before = await readArtifact();
    await add(id, Buffer.from("hello"));
    const after = await readArtifact();
    expect({ ...before, updated: null }).toEqual({ size: null, type: null, updated: null, notifications: 1 });
    expect(after).toMatchObject({ size: 5, type: "application/octet-stream", notifications: 2 });
    expect(after.updated > before.updated).toBe(true);
  });

  test("cannot be added to a progress or a link", async () => {
    const progress = await artifact({ type: "progress" });
    const link = await artifact({ type: "url", url: "https://example.org/" });
    for (const id of [progress, link])
      await expect(add(id, Buffer.from("x"))).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test("gets the next number, however many are stored concurrently", async () => {
    const id = await artifact();
    for (let round = 0; round < 10; round += 1) {
      await Promise.all([0, 1, 2, 3].map((n) => add(id, Buffer.from(`${round}/${n}`))));
    }
    expect((await stored(id)).map(({ version }) => version)).toEqual(
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
  });

  test("whose source fails stores nothing", async () => {
    const broken = async function* () {
      yield randomBytes(2 * mib);
      throw new Error("the sender went away");
    };
    const before = files();
    await expect(receiveContent(world.services, broken())).rejects.toThrow("went away");
    expect([files(), temporaryFiles()]).toEqual([before, []]);
  });
});

describe("retention", () => {
  const versions = async (id: string) => (await stored(id)).map(({ version }) => version);
  const exists = async (id: string) =>
    (await world.all(sql`select id::text from attune.artifact where id = ${id}::bigint`)).length === 1;

  test("by versions keeps the newest, and removes the files of the others", async () => {
    const id = await artifact({ retention: "versions", retentionLimit: 2 });
    for (const size of [2 * mib, 10, 2 * mib, 20]) await add(id, randomBytes(size));
    const [first, , third] = await stored(id);
    await pruneArtifacts(world.services);
    expect(await versions(id)).toEqual([3, 4]);
    expect(files()).not.toContain(first?.storageKey);
    expect(files()).toContain(third?.storageKey);
  });

  test.each([
    ["days", "47 hours", "49 hours"],
    ["hours", "119 minutes", "121 minutes"],
    ["minutes", "119 seconds", "121 seconds"],
  ] as const)("by %s removes what is older", async (retention, younger, older) => {
    const id = await artifact({ retention, retentionLimit: 2 });
    for (const text of ["a", "b", "c"]) await add(id, Buffer.from(text));
    await age(id, older, 1);
    await age(id, younger, 2);
    await pruneArtifacts(world.services);
    expect(await versions(id)).toEqual([2, 3]);
  });

  test("by a time removes an artifact unchanged for that long; until then its version numbers continue", async () => {
    const id = await artifact({ retention: "minutes", retentionLimit: 5 });
    await add(id, Buffer.from("a"));
    await age(id, "6 minutes");
    await pruneArtifacts(world.services);
    expect([await versions(id), await exists(id)]).toEqual([[], true]);
    expect(await add(id, Buffer.from("b"))).toMatchObject({ version: 2 });
    await age(id, "6 minutes");
    await ageArtifact(id, "6 minutes");
    await pruneArtifacts(world.services);
    expect(await exists(id)).toBe(false);
  });

  test("by versions keeps an artifact without versions", async () => {
    const id = await artifact();
    await ageArtifact(id, "10 years");
    await pruneArtifacts(world.services);
    expect(await exists(id)).toBe(true);
  });

  test("is applied by the executor's sweep", async () => {
    const id = await artifact();
    for (const text of ["a", "b"]) await add(id, Buffer.from(text));
    await createArtifactKeeper(world.services)();
    expect(await versions(id)).toEqual([2]);
  });

  test("deleting an artifact deletes its versions and their files", async () => {
    const id = await artifact();
    await add(id, randomBytes(2 * mib));
    const [version] = await stored(id);
    await commit(world.services, deleteArtifact, world.session, { id: BigInt(id) });
    expect(await stored(id)).toEqual([]);
    expect(files()).not.toContain(version?.storageKey);
  });
});

describe("files that belong to no version", () => {
  const orphan = () => {
    const key = `ab/${"ab".repeat(32)}-${count++}`;
    mkdirSync(join(directory(), "ab"), { recursive: true });
    mkdirSync(join(directory(), "tmp"), { recursive: true });
    writeFileSync(join(directory(), key), "left");
    return key;
  };

  test("are removed once they are old enough, and other files are not", async () => {
    const id = await artifact();
    await add(id, randomBytes(2 * mib));
    const [version] = await stored(id);
    const key = orphan();
    writeFileSync(join(directory(), "tmp", "half"), "half");
    expect(await sweepFiles(world.services, 3600_000)).toBe(0);
    expect(await sweepFiles(world.services, -1000)).toBe(2);
    expect(files()).toContain(version?.storageKey);
    expect(files()).not.toContain(key);
    expect(temporaryFiles()).toEqual([]);
  });

  test("a row inserted after its file was removed is refused", async () => {
    const id = await artifact();
    await using received = await receiveContent(world.services, inPieces(randomBytes(2 * mib)));
    const content: StorableContent = await received.keep();
    expect(await sweepFiles(world.services, -1000)).toBe(1);
    const storing = write(world.services, (tx) =>
      addVersion(tx, { artifact: id, execution: null, contentType: null, content }),
    );
    await expect(storing).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await stored(id)).toEqual([]);
  });

  // One connection cannot interleave two transactions, so this needs PostgreSQL.
  test.runIf(onPostgres())("are kept while a version is being stored", async () => {
    const id = await artifact();
    const key = orphan();
    await using received = await receiveContent(world.services, inPieces(randomBytes(2 * mib)));
    const content = await received.keep();
    await write(world.services, async (tx) => {
      await addVersion(tx, { artifact: id, execution: null, contentType: null, content });
      expect(await sweepFiles(world.services, -1000)).toBe(0);
    });
    expect(files()).toContain(content.storageKey);
    expect(await sweepFiles(world.services, -1000)).toBe(1);
    expect(files()).toContain(content.storageKey);
    expect(files()).not.toContain(key);
  });
});
