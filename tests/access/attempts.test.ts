import { describe, expect, test } from "vitest";
import { type AttemptKey, addressName, createAttempts } from "../../src/access/attempts.ts";

const minute = 60_000;
const login = (name: string): AttemptKey[] => [{ kind: "login", name }];

function clocked() {
  let now = 0;
  const attempts = createAttempts(() => now);
  return {
    begin: (keys: AttemptKey[]) => attempts.begin(keys),
    later: (ms: number) => {
      now += ms;
    },
  };
}

describe("failed attempts", () => {
  test("ten within a quarter of an hour make a login wait, whatever it tries next", () => {
    const { begin, later } = clocked();
    for (let round = 0; round < 10; round += 1) {
      expect(begin(login("ada"))).toMatchObject({ allowed: true });
      later(minute);
    }
    expect(begin(login("ada"))).toEqual({ allowed: false, retryAfterSeconds: 300, first: true });
    expect(begin(login("ada"))).toEqual({ allowed: false, retryAfterSeconds: 300, first: false });
    expect(begin(login("bob"))).toMatchObject({ allowed: true });
    later(5 * minute);
    // One of the ten has left the window, which leaves room for one.
    expect(begin(login("ada"))).toMatchObject({ allowed: true });
    expect(begin(login("ada"))).toEqual({ allowed: false, retryAfterSeconds: 60, first: true });
  });

  test("successful attempts are not counted, concurrent guesses are", () => {
    const { begin } = clocked();
    for (let round = 0; round < 50; round += 1) {
      const attempt = begin(login("ada"));
      if (attempt.allowed) attempt.succeeded();
    }
    const together = Array.from({ length: 12 }, () => begin(login("ada")).allowed);
    expect(together.filter(Boolean)).toHaveLength(10);
  });

  test("an address has its own limit across all logins", () => {
    const { begin } = clocked();
    const tried = Array.from(
      { length: 40 },
      (_, index) => begin([...login(`user${index}`), { kind: "address", name: "192.0.2.1" }]).allowed,
    );
    expect(tried.filter(Boolean)).toHaveLength(30);
    expect(begin(login("user39")).allowed).toBe(true); // refused attempts are not counted
  });

  test("are remembered for a limited number of names", () => {
    const { begin } = clocked();
    for (let round = 0; round < 10; round += 1) begin(login("first"));
    expect(begin(login("first")).allowed).toBe(false);
    for (let index = 0; index < 20_000; index += 1) begin(login(`user${index}`));
    expect(begin(login("first")).allowed).toBe(true);
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
