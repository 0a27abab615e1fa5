/** A table whose every update inserts an entry into the log with the number of the row's updates. */
export const raceTable = [
  "create schema race",
  "create table race.item (id int primary key, n int not null default 0)",
  "insert into race.item select generate_series(1, 1000)",
  `create function race.item_updated() returns trigger language plpgsql as $$ begin
    insert into attune.notification (channel, entity_type, entity, activity, content)
      select 'race', 'item', id, 'updated', jsonb_build_object('n', n) from updated order by id;
    return null;
  end $$`,
  `create trigger item_updated after update on race.item referencing new table as updated
    for each statement execute function race.item_updated()`,
];

/** A transaction of 1 to 50 entries: statements, and pauses in milliseconds. */
export interface RandomTransaction {
  steps: (string | number)[];
  end: "commit" | "rollback";
}

const below = (limit: number) => Math.floor(Math.random() * limit);
const chance = (probability: number) => Math.random() < probability;

const update = (ids: readonly number[]) =>
  `update race.item set n = n + 1
    where id in (select id from race.item where id = any ('{${ids.join(",")}}') order by id for update)`;

/** Returns statements whose updates are rolled back within the transaction. */
function undone(ids: readonly number[]): string[] {
  if (chance(0.3)) {
    return [`do $$ begin ${update(ids)}; raise exception 'undone'; exception when raise_exception then null; end $$`];
  }
  const inner = chance(0.5) ? ["savepoint inner_one", update(ids), "release savepoint inner_one"] : [update(ids)];
  return ["savepoint outer_one", ...inner, "rollback to savepoint outer_one"];
}

/** Returns a random transaction. It locks rows in order, so that no two transactions wait for each other. */
export function randomTransaction(): RandomTransaction {
  const count = chance(0.5) ? 1 : 1 + below(50);
  // Every second transaction writes to a contended row.
  const wanted = Array.from({ length: count }, (_, n) => (n === 0 && chance(0.5) ? 1 + below(3) : 1 + below(1000)));
  const ids = [...new Set(wanted)].sort((a, b) => a - b);
  const steps: (string | number)[] = [];
  const pause = () => (chance(0.3) ? [below(10)] : []);
  while (ids.length > 0) {
    const part = ids.splice(0, 1 + below(ids.length));
    if (chance(0.2)) steps.push(...undone(part), ...pause());
    if (chance(0.2)) steps.push("savepoint kept", update(part), "release savepoint kept");
    else steps.push(update(part));
    steps.push(...pause());
    if (chance(0.1)) steps.push(...undone(part), ...pause());
  }
  return { steps, end: chance(0.15) ? "rollback" : "commit" };
}
