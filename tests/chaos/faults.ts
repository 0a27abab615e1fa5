import { setTimeout as sleep } from "node:timers/promises";
import postgres from "postgres";
import { createRandom, type Random } from "./random.ts";
import { type Role, roles, type System } from "./system.ts";

interface Planned {
  fault: string;
  target: string;
  /** How long it lasts. */
  ms: number;
  run(): Promise<void>;
}
type Plan = (system: System, random: Random) => Planned;

const workers: Role[] = ["worker1", "worker2"];
/** Longer than a lease of 30 s and the sweep that ends it. */
const pastLease = [48_000, 60_000] as const;

const kill: Plan = (system, random) => {
  const [role, ms] = [random.pick(roles), random.between(0, 4000)];
  const run = async () => {
    system.signal(role, "SIGKILL");
    await sleep(ms);
    await system.ensure(role);
  };
  return { fault: "kill -9", target: role, ms, run };
};

const stop: Plan = (system, random) => {
  const role = random.pick(roles);
  const run = async () => {
    system.signal(role, "SIGTERM");
    await sleep(10_000);
    await system.ensure(role);
  };
  return { fault: "orderly stop", target: role, ms: 10_000, run };
};

const freeze =
  (targets: readonly Role[], [least, most]: readonly [number, number]): Plan =>
  (system, random) => {
    const [role, ms] = [random.pick(targets), random.between(least, most)];
    const run = async () => {
      system.signal(role, "SIGSTOP");
      await sleep(ms);
      system.signal(role, "SIGCONT");
    };
    return { fault: "SIGSTOP", target: role, ms, run };
  };

const restart: Plan = ({ cluster }, random) => {
  const [mode, ms] = [random.pick(["immediate", "fast"] as const), random.between(0, 5000)];
  const run = async () => {
    await (mode === "immediate" ? cluster.crash() : cluster.stop());
    await sleep(ms);
    await cluster.start();
  };
  return { fault: `PostgreSQL restarted (${mode})`, target: "postgres", ms, run };
};

const terminate: Plan = ({ direct }, random) => {
  const [share, ms] = [random.between(0.2, 1), random.between(500, 3000)];
  const run = async () => {
    for (const until = Date.now() + ms; Date.now() < until; await sleep(200)) {
      await direct`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'attune' and random() < ${share}`;
    }
  };
  return { fault: "connections terminated", target: "postgres", ms, run };
};

const network =
  (
    kind: "delay" | "silent" | "refuse" | "cut",
    targets: readonly Role[],
    [least, most]: readonly [number, number],
  ): Plan =>
  ({ proxies }, random) => {
    const [role, ms] = [random.pick(targets), random.between(least, most)];
    const run = async () => {
      proxies[role].cut();
      if (kind !== "cut") proxies[role].become(kind);
      await sleep(ms);
      proxies[role].become("pass");
      if (kind === "cut") proxies[role].cut();
    };
    // A silence begins on connections that exist: they stay half-open.
    const silence = async () => {
      proxies[role].become("silent");
      await sleep(ms);
      proxies[role].become("pass");
    };
    const slow = async () => {
      proxies[role].become("delay");
      await sleep(ms);
      proxies[role].become("pass");
    };
    const runs = { cut: run, refuse: run, silent: silence, delay: slow };
    return { fault: `network ${kind}`, target: role, ms, run: runs[kind] };
  };

const exhaust: Plan = ({ cluster }, random) => {
  const ms = random.between(3000, 9000);
  const run = async () => {
    const url = `postgres://attune@127.0.0.1:${cluster.port}/attune`;
    const held: postgres.Sql[] = [];
    for (const until = Date.now() + ms; Date.now() < until; ) {
      const client = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 5 });
      held.push(client);
      await client`select 1`.catch(() => sleep(100)); // refused: the limit is reached
      if (held.length > 200) await sleep(100);
    }
    await Promise.all(held.map((client) => client.end({ timeout: 0 })));
  };
  return { fault: "connection limit reached", target: "postgres", ms, run };
};

const duplicate: Plan = ({ direct }, random) => {
  const count = Math.floor(random.between(20, 100));
  const run = async () => {
    await direct`insert into attune_jobs.job (name, data, policy) select q.name, d.data, q.policy from (
        select 'execution/' || rt.ref as name, jsonb_build_object('entity', e.id::text) as data, e.id from attune.execution e
          join attune.action a on a.id = e.action join attune.runtime rt on rt.id = a.runtime) d
      join attune_jobs.queue q on q.name = d.name order by d.id desc limit ${count}`;
    await direct`insert into attune_jobs.job (name, data, policy) select name, data, policy from attune_jobs.job
      where state = 'created' limit 100`;
  };
  return { fault: "jobs delivered twice", target: "postgres", ms: 0, run };
};

/** Faults that follow one another. */
const short: Plan[] = [
  kill,
  kill,
  kill,
  stop,
  restart,
  terminate,
  exhaust,
  duplicate,
  duplicate,
  freeze(["api", "executor"], [2000, 12_000]),
  network("cut", roles, [100, 2000]),
  network("silent", roles, [2000, 10_000]),
  network("delay", roles, [2000, 10_000]),
  network("refuse", roles, [2000, 10_000]),
];
/** Faults of one worker past its lease, beside the others. */
const long: Plan[] = [freeze(workers, pastLease), freeze(workers, pastLease), network("silent", workers, pastLease)];

/** Runs faults drawn by the seed until `until`, and leaves the system whole. Returns how often each occurred. */
export async function disturb(system: System, seed: number, until: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const lane = async (plans: readonly Plan[], random: Random, pause: readonly [number, number]) => {
    for (;;) {
      const planned = random.pick(plans)(system, random);
      await sleep(random.between(...pause));
      if (Date.now() + planned.ms > until) return;
      const { fault, target, ms } = planned;
      system.history.add({ kind: "fault", at: Date.now(), fault, target, ms: Math.round(ms) });
      counts.set(fault, (counts.get(fault) ?? 0) + 1);
      try {
        await planned.run();
      } catch (error) {
        // The database may be away for the harness too; what a fault left unfinished is mended at the end.
        console.log(`  ${fault} on ${target}: ${error instanceof Error ? error.message : error}`);
      }
    }
  };
  await Promise.all([
    lane(short, createRandom(seed), [500, 4000]),
    lane(long, createRandom(seed + 1_000_003), [5000, 15_000]),
  ]);
  await system.cluster.start();
  for (const role of roles) {
    system.proxies[role].become("pass");
    system.signal(role, "SIGCONT");
  }
  await Promise.all(roles.map((role) => system.ensure(role)));
  return counts;
}
