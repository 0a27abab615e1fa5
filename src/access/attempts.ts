import { RateLimitedError } from "../errors.ts";

/** Limits failed attempts, counted in this process's memory. */
export interface Attempts {
  /**
   * Counts an attempt before its result is known, so that concurrent guesses count too. `allowed` is false after too many failures of
   * this kind and name; then nothing is counted, and `first` is true for the first refusal of the wait.
   */
  begin(kind: keyof typeof most, name: string): Attempt;
  /** Runs `work` after what was begun before in the name of this address. Throws RateLimitedError when too much waits already. */
  inTurn<T>(address: string, work: () => Promise<T>): Promise<T>;
}

type Attempt = { allowed: true; succeeded: () => void } | { allowed: false; retryAfterSeconds: number; first: boolean };

/**
 * Failures within the window after which the next attempt must wait: of a login from an address, of proving one's own password, and of
 * logins and links that do not exist, from an address.
 */
const most = { signIn: 10, own: 10, unknown: 30 } as const;
const windowMs = 15 * 60_000;
/** Names kept in memory; beyond this, the least recently tried ones are dropped. */
const size = 20_000;
/** Hashing takes tens of milliseconds, so the last one waits for a few seconds. */
const longestQueue = 100;

interface Counted {
  /** The times of the attempts in the window, oldest first. */
  at: number[];
  refused: boolean;
}

/** Returns a counter of attempts that uses a monotonic clock in milliseconds. */
export function createAttempts(now: () => number = () => performance.now()): Attempts {
  const counted = new Map<string, Counted>();
  const queues = new Map<string, { last: Promise<unknown>; length: number }>();

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
    begin: (kind, name) => {
      const key = `${kind}:${name}`;
      const entry = recent(key, most[kind]);
      if (entry.at.length >= most[kind]) {
        const first = !entry.refused;
        entry.refused = true;
        const waitMs = windowMs - (now() - (entry.at[0] ?? 0));
        return { allowed: false, retryAfterSeconds: Math.ceil(waitMs / 1000), first };
      }
      const started = now();
      entry.at.push(started);
      remember(key, entry);
      return {
        allowed: true,
        succeeded: () => {
          const index = entry.at.indexOf(started);
          if (index >= 0) entry.at.splice(index, 1);
        },
      };
    },
    inTurn: async (address, work) => {
      const queue = queues.get(address) ?? { last: Promise.resolve(), length: 0 };
      if (queue.length >= longestQueue) throw new RateLimitedError(1);
      queues.set(address, queue);
      queue.length += 1;
      const turn = queue.last.then(work);
      queue.last = turn.catch(() => {});
      try {
        return await turn;
      } finally {
        queue.length -= 1;
        if (queue.length === 0) queues.delete(address);
      }
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
