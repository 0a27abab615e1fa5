/** Limits failed attempts, counted by login and address in this process's memory. */
export interface Attempts {
  /**
   * Counts an attempt under each key before its result is known, so that concurrent guesses count too. `allowed` is false after too
   * many failures; then nothing is counted, and `first` is true for the first refusal of the wait.
   */
  begin(keys: readonly AttemptKey[]): Attempt;
}

/** Attempts with the same kind and name are counted together; each kind has its own limit. */
export interface AttemptKey {
  kind: keyof typeof most;
  name: string;
}

type Attempt = { allowed: true; succeeded: () => void } | { allowed: false; retryAfterSeconds: number; first: boolean };

/** Failures within the window after which the next attempt must wait. Many people may share an address. */
const most = { login: 10, address: 30 } as const;
const windowMs = 15 * 60_000;
/** Names kept in memory; beyond this, the least recently tried ones are dropped. */
const size = 20_000;

interface Counted {
  /** The times of the attempts in the window, oldest first. */
  at: number[];
  refused: boolean;
}

/** Returns a counter of attempts that uses a monotonic clock in milliseconds. */
export function createAttempts(now: () => number = () => performance.now()): Attempts {
  const counted = new Map<string, Counted>();

  function recent(key: string, limit: number): Counted {
    const known = counted.get(key) ?? { at: [], refused: false };
    known.at = known.at.filter((at) => now() - at < windowMs);
    if (known.at.length < limit) known.refused = false;
    return known;
  }

  function remember(key: string, entry: Counted): void {
    counted.delete(key); // to the end of the order
    counted.set(key, entry);
    if (counted.size > size) for (const oldest of counted.keys().take(1)) counted.delete(oldest);
  }

  return {
    begin: (keys) => {
      const entries = keys.map(({ kind, name }) => {
        const key = `${kind}:${name}`;
        return { key, limit: most[kind], entry: recent(key, most[kind]) };
      });
      const full = entries.filter(({ entry, limit }) => entry.at.length >= limit);
      if (full.length > 0) {
        const first = full.some(({ entry }) => !entry.refused);
        for (const { entry } of full) entry.refused = true;
        const waits = full.map(({ entry: { at } }) => windowMs - (now() - (at[0] ?? 0)));
        return { allowed: false, retryAfterSeconds: Math.ceil(Math.max(...waits) / 1000), first };
      }
      const started = now();
      for (const { key, entry } of entries) {
        entry.at.push(started);
        remember(key, entry);
      }
      return {
        allowed: true,
        succeeded: () => {
          for (const { entry } of entries) {
            const index = entry.at.indexOf(started);
            if (index >= 0) entry.at.splice(index, 1);
          }
        },
      };
    },
  };
}

/** Returns the name under which an address is counted; for IPv6 its /64 network, because one host can use all of its addresses. */
export function addressName(ip: string | null): string {
  const address = ip?.replace(/^::ffff:(?=\d+\.)/, "") ?? "unknown";
  if (!address.includes(":")) return address;
  const [head = "", tail] = (address.split("%", 1)[0] ?? "").split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail ? tail.split(":") : [];
  const zeros =
    tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => "0");
  return [...front, ...zeros, ...back].slice(0, 4).join(":");
}
