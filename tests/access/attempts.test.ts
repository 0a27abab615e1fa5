import { describe, expect, test } from "vitest";
import { addressName, createAttempts } from "../../src/access/attempts.ts";

const minute = 60_000;

function clocked() {
  let now = 0;
  const attempts = createAttempts(() => now);
  return {
    begin: (name: string) => attempts.begin("signIn", name),
    later: (ms: number) => {
      now += ms;
    },
  };
}

describe("failed attempts", () => {
  test("ten within a quarter of an hour make a name wait, whatever it tries next", () => {
    const { begin, later } = clocked();
    for (let round = 0; round < 10; round += 1) {
      expect(begin("ada")).toMatchObject({ allowed: true });
      later(minute);
    }
    expect(begin("ada")).toEqual({ allowed: false, retryAfterSeconds: 300, first: true });
    expect(begin("ada")).toEqual({ allowed: false, retryAfterSeconds: 300, first: false });
    expect(begin("bob")).toMatchObject({ allowed: true });
    later(5 * minute);
    // One of the ten has left the window, which leaves room for one.
    expect(begin("ada")).toMatchObject({ allowed: true });
    expect(begin("ada")).toEqual({ allowed: false, retryAfterSeconds: 60, first: true });
  });

  test("successful attempts are not counted, concurrent guesses are", () => {
    const { begin } = clocked();
    for (let round = 0; round < 50; round += 1) {
      const attempt = begin("ada");
      if (attempt.allowed) attempt.succeeded();
    }
    const together = Array.from({ length: 12 }, () => begin("ada").allowed);
    expect(together.filter(Boolean)).toHaveLength(10);
  });

  test("kinds are counted apart", () => {
    const attempts = createAttempts();
    for (let round = 0; round < 11; round += 1) attempts.begin("signIn", "ada");
    expect(attempts.begin("signIn", "ada").allowed).toBe(false);
    expect(attempts.begin("own", "ada").allowed).toBe(true);
  });

  test("are remembered for a limited number of names", () => {
    const { begin } = clocked();
    for (let round = 0; round < 10; round += 1) begin("first");
    expect(begin("first").allowed).toBe(false);
    for (let index = 0; index < 20_000; index += 1) begin(`user${index}`);
    expect(begin("first").allowed).toBe(true);
  });

  test("of one address are checked one by one, at most a hundred wait, and other addresses do not wait for them", async () => {
    const { inTurn } = createAttempts();
    const gate = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    const work = async () => {
      running += 1;
      most = Math.max(most, running);
      await gate.promise;
      running -= 1;
    };
    const waiting = Array.from({ length: 100 }, () => inTurn("192.0.2.1", work));
    await expect(inTurn("192.0.2.1", work)).rejects.toMatchObject({ code: "RATE_LIMITED", retryAfterSeconds: 1 });
    await expect(inTurn("192.0.2.2", async () => "checked")).resolves.toBe("checked");
    gate.resolve();
    await Promise.all(waiting);
    expect(most).toBe(1);
    await inTurn("192.0.2.1", work);
  });
});

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::9", "2001:db8:1:2"],
  ["2001:db8::9", "2001:db8:0:0"],
  ["fe80::1%eth0", "fe80:0:0:0"],
  ["::1", "0:0:0:0"],
  [null, "unknown"],
])("the address %s counts as %s", (ip, name) => {
  expect(addressName(ip)).toBe(name);
});
