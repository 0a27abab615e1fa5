import { existsSync } from "node:fs";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { receiveContent } from "../../src/artifact/files.ts";
import { keepContent, noteProgress } from "../../src/artifact/keep.ts";
import { globalId } from "../../src/lib/global-id.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const mib = 1024 * 1024;

let world: World;
beforeAll(async () => {
  world = await createWorld();
  await world.startWorker();
});
afterAll(() => world[Symbol.asyncDispose]());

async function shell(command: string) {
  const id = await world.execute("core.shell", { command });
  return { id, row: await world.ended(id), messages: await world.log(id, "system") };
}

const left = (execution: string) =>
  world.all<{ ref: string; type: string; contentType: string; size: number; version: number; text: string | null }>(
    sql`select a.ref, a.type, v.content_type as "contentType", v.size::int, v.version,
        case when v.size < 100 then convert_from(v.content, 'UTF8') end as text
      from attune.artifact_version v join attune.artifact a on a.id = v.artifact
      where v.execution = ${execution}::bigint and a.scope = 'action' and a.owner = 'core.shell' order by a.ref, v.version`,
  );

const entries = async (execution: string) => {
  const ref = `core.shell/progress/${globalId("Execution", execution)}`;
  const [found] = await world.all<{ type: string; data: { percent: number; message: string; at: string }[] }>(
    sql`select type, data from attune.artifact where ref = ${ref} and scope = 'action' and owner = 'core.shell'`,
  );
  return found?.data ?? [];
};

describe("files that an action writes", () => {
  test("become versions of its artifacts, typed by extension, and the directory is removed", async () => {
    const { id, row, messages } = await shell(
      `cd "$ATTUNE_ARTIFACTS_DIR"; pwd; mkdir -p deep/er; echo hi > notes.txt; printf 'a,b\\n' > deep/table.csv; printf x > deep/er/logo.PNG; printf y > plain; printf '<p>' > 'my page.html'`,
    );
    expect(row).toMatchObject({ status: "completed" });
    expect(await left(id)).toEqual([
      {
        ref: "core.shell/deep/er/logo.PNG",
        type: "file_image",
        contentType: "image/png",
        size: 1,
        version: 1,
        text: "x",
      },
      {
        ref: "core.shell/deep/table.csv",
        type: "file_datatable",
        contentType: "text/csv; charset=utf-8",
        size: 4,
        version: 1,
        text: "a,b\n",
      },
      {
        ref: "core.shell/my page.html",
        type: "file_text",
        contentType: "text/html; charset=utf-8",
        size: 3,
        version: 1,
        text: "<p>",
      },
      {
        ref: "core.shell/notes.txt",
        type: "file_text",
        contentType: "text/plain; charset=utf-8",
        size: 3,
        version: 1,
        text: "hi\n",
      },
      {
        ref: "core.shell/plain",
        type: "file_binary",
        contentType: "application/octet-stream",
        size: 1,
        version: 1,
        text: "y",
      },
    ]);
    expect(messages).toBe("");
    const directory = String((row.result as JsonObject)["data"]).trim();
    expect(directory).toMatch(/^\//);
    expect(existsSync(directory)).toBe(false);
  });

  test("get the next version in the next execution, and are retained for as long as executions", async () => {
    const first = await shell(`echo 1 > "$ATTUNE_ARTIFACTS_DIR/again.txt"`);
    const second = await shell(`echo 2 > "$ATTUNE_ARTIFACTS_DIR/again.txt"`);
    expect([...(await left(first.id)), ...(await left(second.id))]).toMatchObject([
      { version: 1, text: "1\n" },
      { version: 2, text: "2\n" },
    ]);
    expect(
      await world.one(
        sql`select retention, retention_limit, visibility from attune.artifact where ref = 'core.shell/again.txt'`,
      ),
    ).toEqual({ retention: "days", retention_limit: 30, visibility: "private" });
  });

  test("are kept when it fails or times out", async () => {
    const failed = await shell(`echo 1 > "$ATTUNE_ARTIFACTS_DIR/failed.txt"; exit 3`);
    expect([failed.row.status, await left(failed.id)]).toMatchObject(["failed", [{ ref: "core.shell/failed.txt" }]]);
    const slow = await world.execute(
      "core.shell",
      { command: `echo 1 > "$ATTUNE_ARTIFACTS_DIR/slow.txt"; sleep 60` },
      1,
    );
    expect([(await world.ended(slow)).status, await left(slow)]).toMatchObject([
      "timeout",
      [{ ref: "core.shell/slow.txt" }],
    ]);
  });

  test("are left out if they are links, special files, or too deep, and the log gives the reason", async () => {
    const { id, row, messages } = await shell(
      `cd "$ATTUNE_ARTIFACTS_DIR"; ln -s /etc/passwd link; ln -s /etc dirlink; mkfifo pipe; mkdir -p a/b/c; echo 1 > a/b/c/d.txt; echo 1 > a/b/ok.txt; printf 1 > "$(printf 'new\\nline')"; printf 1 > "$(printf 'b\\377d')"`,
    );
    expect(row.status).toBe("completed");
    expect((await left(id)).map(({ ref }) => ref)).toEqual(["core.shell/a/b/ok.txt"]);
    expect(messages).toMatch(/^Artifacts left out: /);
    for (const reason of [
      "link (a symbolic link)",
      "dirlink (a symbolic link)",
      "pipe (not a regular file)",
      "a/b/c (deeper than 3 levels)",
      "new\ufffdline (ref: must be printable text in one line)",
      "(its name is not UTF-8)",
    ]) {
      expect(messages).toContain(reason);
    }
  });

  test("are left out beyond a hundred, in order of name", async () => {
    const { id, messages } = await shell(
      `cd "$ATTUNE_ARTIFACTS_DIR"; i=100; while [ $i -lt 230 ]; do : > many$i; i=$((i+1)); done`,
    );
    const kept = (await left(id)).map(({ ref }) => ref);
    expect([kept.length, kept[0], kept.at(-1)]).toEqual([100, "core.shell/many100", "core.shell/many199"]);
    expect(messages).toContain("many200 (there are more than 100 files)");
    expect(messages).toContain("and 10 more.");
  });

  test("are left out beyond 256 MiB in total, while smaller ones after them are kept", async () => {
    const { id, messages } = await shell(
      `cd "$ATTUNE_ARTIFACTS_DIR"; truncate -s ${2 * mib} 1.bin; truncate -s ${255 * mib} 2.bin; echo 3 > 3.txt`,
    );
    expect(await left(id)).toMatchObject([
      { ref: "core.shell/1.bin", size: 2 * mib },
      { ref: "core.shell/3.txt", size: 2 },
    ]);
    expect(messages).toBe("Artifacts left out: 2.bin (more than 256 MiB together).\n");
  });
});

describe("progress", () => {
  test("is read from a ::progress line of an action's output, which stays in its log", async () => {
    const { id, row } = await shell(
      `echo begin; echo '::progress 40 copying files'; sleep 0.5; printf '::prog'; sleep 0.3; printf 'ress 99.5 nearly\\n'; echo '::progress 101 no'; echo '::progress x'; printf '::progress 100'`,
    );
    const found = await entries(id);
    expect(found.map(({ percent, message }) => ({ percent, message }))).toEqual([
      { percent: 40, message: "copying files" },
      { percent: 99.5, message: "nearly" },
      { percent: 100, message: null },
    ]);
    expect(new Date(found[0]?.at ?? "").getTime()).toBeGreaterThan(Date.now() - 60_000);
    expect((row.result as JsonObject)["data"]).toContain("::progress 40 copying files\n");
    expect(await world.log(id, "stdout")).toContain("::progress 40 copying files\n");
  });

  test("is stored while it runs", async () => {
    const id = await world.execute("core.shell", { command: "echo '::progress 10 started'; sleep 30" });
    await until(async () => (await entries(id)).length === 1, "the entry");
    expect((await world.execution(id)).status).toBe("running");
    await world.all(
      sql`update attune.execution set status = 'canceling', cancel_requested_at = now() where id = ${id}::bigint`,
    );
    world.services.wake.announce(["cancel"]);
    await world.ended(id);
  });

  test("is stored at most five times a second, and always with the last entry", async () => {
    const { id, row } = await shell(
      'i=0; while [ $i -le 100 ]; do echo "::progress $i step $i"; sleep 0.01; i=$((i+1)); done',
    );
    const found = await entries(id);
    expect(found.at(-1)).toMatchObject({ percent: 100, message: "step 100" });
    const seconds = Number((row.result as JsonObject)["duration_ms"]) / 1000;
    expect(found.length).toBeLessThanOrEqual(5 * seconds + 3);
    expect(found.length).toBeGreaterThan(2);
  });

  test("keeps the newest hundred entries", async () => {
    const id = await running();
    const of = { id, attempt: 1, actionRef: "core.shell" };
    const ref = `core.shell/progress/${globalId("Execution", id)}`;
    for (let n = 0; n <= 100; n += 1) {
      await noteProgress(world.services, of, { ref, entry: { percent: n, message: `${n}` } });
    }
    const found = await entries(id);
    expect(found.map(({ percent }) => percent)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });
});

/** Creates a row of a running execution, which no process runs. */
async function running(): Promise<string> {
  const { id } = await world.one<{ id: string }>(
    sql`insert into attune.execution (action_ref, on_worker_loss, trace_tag, status) values ('core.shell', 'abandon', 'left', 'scheduled')
      returning id::text`,
  );
  await world.all(
    sql`with w as (insert into attune.worker (name, worker_type) values ('w', 'local') returning id)
      update attune.execution e set status = 'running', attempt = 1, worker = w.id, started_at = now() from w
      where e.id = ${id}::bigint`,
  );
  return id;
}

describe("an attempt that is no longer the running one", () => {
  const keep = async (of: { id: string; attempt: number }, text: string) => {
    const source = async function* () {
      yield Buffer.from(text);
    };
    await using received = await receiveContent(world.services, source());
    const content = { ref: "core.shell/fenced.txt", type: "file_text" as const, contentType: "text/plain", received };
    return await keepContent(world.services, { ...of, actionRef: "core.shell" }, content);
  };

  test("stores nothing, and the running one stores the same content only once", async () => {
    const id = await running();
    expect(await keep({ id, attempt: 2 }, "late")).toBeNull();
    expect(await left(id)).toEqual([]);
    expect(await keep({ id, attempt: 1 }, "same")).toMatchObject({ version: 1 });
    expect(await keep({ id, attempt: 1 }, "same")).toMatchObject({ version: 1 });
    expect(await keep({ id, attempt: 1 }, "other")).toMatchObject({ version: 2 });
    await world.all(
      sql`update attune.execution set status = 'completed', finished_at = now() where id = ${id}::bigint`,
    );
    expect(await keep({ id, attempt: 1 }, "after the end")).toBeNull();
    expect(await left(id)).toMatchObject([{ text: "same" }, { text: "other" }]);
    const ref = `core.shell/progress/${globalId("Execution", id)}`;
    await noteProgress(
      world.services,
      { id, attempt: 1, actionRef: "core.shell" },
      { ref, entry: { percent: 1, message: null } },
    );
    expect(await entries(id)).toEqual([]);
  });
});

describe("a result above 256 KiB", () => {
  test("becomes an artifact, which the row names", async () => {
    const size = 300 * 1024;
    const { id, row } = await shell(`head -c ${size} /dev/zero | tr '\\0' x`);
    expect(row).toMatchObject({
      status: "completed",
      result: { exit_code: 0, artifact: "core.shell/result", version: 1, size },
    });
    expect(Object.keys(row.result ?? {})).not.toContain("data");
    expect(await left(id)).toMatchObject([{ ref: "core.shell/result", type: "file_text", size, version: 1 }]);
  });

  test("becomes one for a failed action too; a smaller result stays in the row", async () => {
    const { row } = await shell(`head -c 300000 /dev/zero | tr '\\0' x; exit 1`);
    expect(row).toMatchObject({
      status: "failed",
      result: { exit_code: 1, artifact: "core.shell/result", version: 2 },
    });
    const small = await shell(`head -c 200000 /dev/zero | tr '\\0' x`);
    expect((small.row.result as JsonObject)["data"]).toHaveLength(200_000);
  });
});
