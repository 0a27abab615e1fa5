import { describe, expect, test } from "vitest";
import { hashPassword, verifyPassword } from "../../src/access/password.ts";

describe("a password", () => {
  test("matches its own hash, and no other password does", async () => {
    const stored = await hashPassword("correct horse battery");
    expect(stored).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(await verifyPassword("correct horse battery", stored)).toBe(true);
    expect(await verifyPassword("correct horse batterY", stored)).toBe(false);
    expect(await verifyPassword("", stored)).toBe(false);
    expect(await hashPassword("correct horse battery")).not.toBe(stored); // a new salt each time
  });

  test("is the same however its characters are composed", async () => {
    const stored = await hashPassword("Zürich, Zürich!");
    expect(await verifyPassword("Zürich, Zürich!".normalize("NFD"), stored)).toBe(true);
  });

  // A test vector from the reference implementation.
  test("verifies with any parameters in the hash", async () => {
    const stored = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    expect(await verifyPassword("password", stored)).toBe(true);
    expect(await verifyPassword("Password", stored)).toBe(false);
  });

  test("takes as long to verify when there is no hash to compare with", async () => {
    const stored = await hashPassword("correct horse battery");
    const took = async (hash: string | null) => {
      const started = performance.now();
      for (let round = 0; round < 5; round += 1) await verifyPassword("a guess of somebody", hash);
      return performance.now() - started;
    };
    const [unknown, known] = [await took(null), await took(stored)];
    expect(unknown).toBeGreaterThan(known / 4);
    expect(await verifyPassword("anything at all", null)).toBe(false);
  });

  test("is hashed off the event loop", async () => {
    let turns = 0;
    const ticking = setInterval(() => {
      turns += 1;
    }, 1);
    await Promise.all([hashPassword("correct horse battery"), hashPassword("correct horse battery")]);
    clearInterval(ticking);
    expect(turns).toBeGreaterThan(3);
  });

  test("stored in another format is an error, not a wrong password", async () => {
    await expect(verifyPassword("password", "5f4dcc3b5aa765d61d8327deb882cf99")).rejects.toThrow("not an argon2id");
  });
});
