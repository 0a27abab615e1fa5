/** Counts what failed by who tried, in this process's memory, and says when to wait. */
export interface Attempts {
  /**
   * Counts an attempt under each key, in advance, so that guesses made at the same time count too. `allowed` false: too many
   * have failed; then nothing is counted, and `first` says whether this is the first refusal of the wait.
   */
  begin(keys: readonly AttemptKey[]): Attempt;
}

/** What is counted together: of a kind, which has its own limit, and of one name. */
export interface AttemptKey {
  kind: keyof typeof most;
  name: string;
}

export type Attempt =
  | { allowed: true; succeeded: () => void }
  | { allowed: false; retryAfterSeconds: number; first: boolean };

/** Failures within the window after which the next attempt must wait. Many people may share an address. */
const most = { login: 10, address: 30 } as const;
const windowMs = 15 * 60_000;
/** Names remembered; beyond, those that were tried longest ago are forgotten. */
const size = 20_000;

interface Counted {
  /** When each of the attempts in the window was made, oldest first. */
  at: number[];
  refused: boolean;
}

/** Attempts by a clock in milliseconds that never goes back. */
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

/** The name of an address: of IPv6 the network, for whoever has one address of it has them all. */
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
