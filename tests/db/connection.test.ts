import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ConnectionLimits, type Database, openDatabase, rows } from "../../src/db/client.ts";
import { unlimitedRoom } from "../../src/db/room.ts";
import { createReadiness } from "../../src/http/ready.ts";
import { cloneDatabase, onPostgres } from "../support/database.ts";
import { createProxy, type NetworkProxy } from "../support/proxy.ts";
import { until } from "../support/until.ts";

const limits: ConnectionLimits = {
  connect: 1000,
  statement: 30_000,
  response: 1000,
  queue: 1000,
  idleInTransaction: 1000,
  listening: 300,
};
const max = 3;

// The embedded database has no connections.
describe.runIf(onPostgres())("a connection to PostgreSQL", () => {
  let proxy: NetworkProxy;
  let database: Database;
  let direct: Database;
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);

  beforeAll(async () => {
    const { url } = await cloneDatabase();
    proxy = await createProxy(url ?? "");
    direct = await openDatabase({ url, dataDir: "", maxConnections: 2 });
    await direct.db.execute(sql`create table public.note (text text)`);
    database = await openDatabase({ url: proxy.url, dataDir: "", maxConnections: max, limits });
    process.on("uncaughtException", note);
    process.on("unhandledRejection", note);
  });
  afterEach(async () => {
    proxy.become("pass");
    await until(() => works(), "the database to work again");
    await direct.db.execute(sql`delete from public.note`);
    expect(unhandled).toEqual([]);
  });
  afterAll(async () => {
    process.off("uncaughtException", note);
    process.off("unhandledRejection", note);
    await database?.[Symbol.asyncDispose]();
    await direct?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
  });

  const works = async () =>
    database.db.execute(sql`select 1`).then(
      () => true,
      () => false,
    );
  const notes = async () =>
    (await rows<{ text: string }>(direct.db, sql`select text from public.note order by 1`)).map(({ text }) => text);
  const insert = (db: Database["db"], text: string) => db.execute(sql`insert into public.note values (${text})`);
  const codeOf = async (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => "none",
      (error: { code?: string; cause?: { code?: string } }) => error.cause?.code ?? error.code ?? String(error),
    );
  /** How a statement ends on a connection that was lost. */
  const lost = /^(CONNECTION_CLOSED|ECONNRESET|EPIPE|CONNECTION_DESTROYED)$/;

  test("that is cut while statements run rejects them, and the next statement works", async () => {
    const running = Array.from({ length: 20 }, () => codeOf(database.db.execute(sql`select pg_sleep(20)`)));
    await until(() => proxy.connections() >= max, "the connections");
    proxy.cut();
    for (const code of await Promise.all(running)) expect(code).toMatch(lost);
    expect(await works()).toBe(true);
  });

  test("that is cut at any moment, again and again, breaks nothing", async () => {
    let done = false;
    const codes: string[] = [];
    const work = async (number: number) => {
      for (let i = 0; !done; i += 1) {
        const text = `${number}.${i} ${"x".repeat(i % 7 === 0 ? 100_000 : 10)}`;
        codes.push(
          await codeOf(
            i % 3 === 0
              ? insert(database.db, text)
              : database.db.transaction(async (tx) => {
                  await insert(tx, text);
                  await Promise.all([insert(tx, "a"), insert(tx, "b")]);
                  await tx.transaction((inner) => insert(inner, "c"));
                }),
          ),
        );
      }
    };
    const workers = Array.from({ length: 8 }, (_, number) => work(number));
    const succeeded = () => codes.filter((code) => code === "none").length;
    try {
      // On a busy machine, connections that are cut before they are open would let nothing succeed.
      for (let cuts = 0; cuts < 60; cuts += 1) {
        const before = succeeded();
        await until(() => succeeded() > before, `a success after ${cuts} cuts`);
        await new Promise((resolve) => setTimeout(resolve, cuts % 20));
        proxy.cut();
      }
    } finally {
      done = true;
    }
    await Promise.all(workers);
    // QUEUE_TIMEOUT: several attempts to connect failed, and the pause before the next is longer than a statement waits.
    for (const code of new Set(codes))
      expect(code).toMatch(/^(none|CONNECTION_CLOSED|ECONNRESET|EPIPE|CONNECTION_DESTROYED|QUEUE_TIMEOUT)$/);
  });

  test("that is cut in a transaction ends it: nothing it does afterwards is stored", async () => {
    let late: Promise<string[]> | undefined;
    const transaction = database.db.transaction(async (tx) => {
      await insert(tx, "before");
      proxy.cut();
      late = Promise.all([1, 2, 3].map((number) => codeOf(insert(tx, `after ${number}`))));
      await late;
      await insert(tx, "much later");
    });
    expect(await codeOf(transaction)).toMatch(lost);
    for (const code of (await late) ?? []) expect(code).toMatch(lost);
    expect(await notes()).toEqual([]);
  });

  test("that is lost in a transaction is not rolled back once it serves another", async () => {
    await using single = await openDatabase({ url: proxy.url, dataDir: "", maxConnections: 1, limits });
    const next = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const lostOne = single.db.transaction(async (tx) => {
      await insert(tx, "lost");
      proxy.cut();
      await next.promise; // its code goes on while the other transaction runs
      ended.resolve();
      throw new Error("rolls back");
    });
    expect(await codeOf(lostOne)).toMatch(lost);
    const other = single.db.transaction(async (tx) => {
      await insert(tx, "first");
      next.resolve();
      await ended.promise;
      await tx.execute(sql`select pg_sleep(0.1)`);
      await insert(tx, "second");
      throw new Error("rolled back");
    });
    await expect(other).rejects.toThrow("rolled back");
    expect(await notes()).toEqual([]);
  });

  test("takes no statement of a transaction that has ended", async () => {
    let kept: Database["db"] | undefined;
    await database.db.transaction(async (tx) => {
      kept = tx as unknown as Database["db"];
      await insert(tx, "inside");
    });
    expect(await codeOf(insert(kept as Database["db"], "outside"))).toBe("TRANSACTION_ENDED");
    await expect(
      database.db.transaction(async (tx) => {
        kept = tx as unknown as Database["db"];
        throw new Error("rolled back");
      }),
    ).rejects.toThrow("rolled back");
    expect(await codeOf(insert(kept as Database["db"], "outside"))).toBe("TRANSACTION_ENDED");
    expect(await notes()).toEqual(["inside"]);
  });

  test("does not mix transactions when their statements fill the socket's buffer", async () => {
    const large = "x".repeat(3_000_000);
    // It takes more than a second on a busy machine, in which no limit is the subject.
    const patient = { ...limits, queue: 30_000, response: 30_000 };
    await using wide = await openDatabase({ url: proxy.url, dataDir: "", maxConnections: max, limits: patient });
    await Promise.all(
      Array.from({ length: 6 }, (_, number) =>
        wide.db
          .transaction(async (tx) => {
            await insert(tx, `${number} ${large}`);
            if (number % 2 === 0) throw new Error("rolled back");
          })
          .catch((error: Error) => expect(error.message).toBe("rolled back")),
      ),
    );
    expect((await notes()).map((text) => text[0])).toEqual(["1", "3", "5"]);
  });

  test("that is silent refuses its statements in time, also those that wait, and works again afterwards", async () => {
    expect(await works()).toBe(true);
    proxy.become("silent");
    const from = performance.now();
    const waiting = Array.from({ length: 10 }, () => codeOf(database.db.execute(sql`select 1`)));
    const transactions = Array.from({ length: 10 }, () =>
      codeOf(database.db.transaction(async (tx) => insert(tx, "x"))),
    );
    for (const code of await Promise.all([...waiting, ...transactions])) {
      expect(code).toMatch(/TIMEOUT|CONNECTION_CLOSED/);
    }
    expect(performance.now() - from).toBeLessThan(15_000); // a few seconds, but for a busy machine
    proxy.become("pass");
    await until(() => works(), "the database to work again");
    expect(await notes()).toEqual([]);
  });

  test("that works on a statement for long is not taken for a silent one when rows arrive, and is when none do", async () => {
    const slow = sql`select pg_sleep(0.4), i, repeat('x', 10000) from generate_series(1, 4) i`;
    expect(await codeOf(database.db.execute(slow))).toBe("none");
    expect(await codeOf(database.db.execute(sql`select pg_sleep(20)`))).toBe("RESPONSE_TIMEOUT");
  });

  test("that leaves its transaction open loses it, and its locks", async () => {
    await insert(direct.db, "locked");
    let opened = false;
    const holding = codeOf(
      database.db.transaction(async (tx) => {
        await tx.execute(sql`update public.note set text = 'changed'`);
        opened = true;
        proxy.become("silent");
        await until(() => false, "nothing", 4000).catch(() => {});
        await insert(tx, "late");
      }),
    );
    await until(() => opened, "the lock");
    await direct.db.execute(sql`update public.note set text = 'free'`);
    expect(await notes()).toEqual(["free"]);
    expect(await holding).toMatch(/57P0|25P03|TIMEOUT|CONNECTION_CLOSED|ECONNRESET/);
  });

  test("that listens is replaced when it is lost or silent, and says that messages may have been missed", async () => {
    const heard: (string | null)[] = [];
    await database.listen((payload) => heard.push(payload));
    await direct.notify("one");
    await until(() => heard.includes("one"), "the first message");
    proxy.cut();
    await until(() => heard.includes(null), "the notice after the cut");
    await direct.notify("two");
    await until(() => heard.includes("two"), "the second message");
    heard.length = 0;
    proxy.become("silent");
    await direct.notify("lost");
    await until(() => proxy.lost() > 0, "the loss of the message or of the listener's check");
    proxy.become("pass");
    await until(() => heard.includes(null), "the notice after the silence");
    await direct.notify("three");
    await until(() => heard.includes("three"), "the third message");
  });

  test("that is silent, refused or cut leaves the readiness in time", async () => {
    const ready = createReadiness({ db: database.db, room: unlimitedRoom() }, () => true);
    expect(await ready()).toBeNull();
    proxy.become("silent");
    expect(await ready()).toMatch(/has not responded for 1500 ms|cannot be used: .*(TIMEOUT|CLOSED)/);
    proxy.become("refuse");
    proxy.cut();
    await until(async () => /cannot be used/.test((await ready()) ?? ""), "the reason");
    proxy.become("pass");
    await until(async () => (await ready()) === null, "readiness");
  });

  test("is opened anew by statements that come together after an outage", async () => {
    proxy.become("refuse");
    proxy.cut();
    const refused = await Promise.all(Array.from({ length: 20 }, () => codeOf(database.db.execute(sql`select 1`))));
    for (const code of refused) expect(code).toMatch(/ECONNRESET|CONNECTION_CLOSED|TIMEOUT|EPIPE/);
    proxy.become("pass");
    await until(() => works(), "the database to work again");
    const codes = await Promise.all(Array.from({ length: 20 }, () => codeOf(database.db.execute(sql`select 1`))));
    expect(new Set(codes)).toEqual(new Set(["none"]));
  });
});
