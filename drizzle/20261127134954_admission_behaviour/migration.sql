-- Admission: which policy applies, who shares its limits, and who is next.

-- Which policy applies ----------------------------------------------------------------------------------------------------

-- The policy of each action that has one: of those for the action, else for its pack, else for all, that with the highest priority.
CREATE VIEW attune.action_policy AS
  SELECT a.id AS action, p.id AS policy
  FROM attune.action a CROSS JOIN LATERAL (
    SELECT p.id FROM attune.policy p
    WHERE p.enabled AND CASE WHEN p.action IS NOT NULL THEN p.action = a.id WHEN p.pack IS NOT NULL THEN p.pack = a.pack ELSE true END
    ORDER BY p.action IS NULL, p.pack IS NULL, p.priority DESC, p.id LIMIT 1) p;
--> statement-breakpoint
-- The key of a group: the values at the policy's paths, as JSON. A long one is shortened, because an index contains it.
CREATE FUNCTION attune.policy_key(parameters text[], config jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE
  BEGIN ATOMIC
    SELECT CASE WHEN octet_length(k.key) <= 1000 THEN k.key ELSE left(k.key, 200) || ' … md5 ' || md5(k.key) END
    FROM (
      SELECT coalesce(jsonb_agg(coalesce(config #> CASE WHEN u.path LIKE '/%'
          THEN (SELECT array_agg(replace(replace(x.name, '~1', '/'), '~0', '~') ORDER BY x.ord)
            FROM unnest(string_to_array(substr(u.path, 2), '/')) WITH ORDINALITY AS x(name, ord))
          ELSE string_to_array(u.path, '.') END, 'null'::jsonb) ORDER BY u.ord), '[]'::jsonb)::text AS key
      FROM unnest(parameters) WITH ORDINALITY AS u(path, ord)) k;
  END;
--> statement-breakpoint
-- Compiled rules know the policy of their action: what may change it adds one to the revision of every trigger that is concerned.
CREATE FUNCTION attune.policy_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE trigger SET rules_revision = rules_revision + 1 WHERE id IN (
    SELECT r.trigger FROM rule r JOIN action a ON a.id = r.action WHERE
      CASE WHEN tg_op = 'INSERT' THEN false WHEN old.action IS NOT NULL THEN old.action = a.id
        WHEN old.pack IS NOT NULL THEN old.pack = a.pack ELSE true END
      OR CASE WHEN tg_op = 'DELETE' THEN false WHEN new.action IS NOT NULL THEN new.action = a.id
        WHEN new.pack IS NOT NULL THEN new.pack = a.pack ELSE true END);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER policy_invalidate AFTER INSERT OR DELETE ON attune.policy
  FOR EACH ROW EXECUTE FUNCTION attune.policy_invalidate();
--> statement-breakpoint
CREATE TRIGGER policy_invalidate_update AFTER UPDATE ON attune.policy FOR EACH ROW
  WHEN ((old.enabled, old.priority, old.action, old.pack) IS DISTINCT FROM (new.enabled, new.priority, new.action, new.pack))
  EXECUTE FUNCTION attune.policy_invalidate();
--> statement-breakpoint

-- The numbers of a group are those of its slots, whoever inserts or deletes them -------------------------------------------

CREATE FUNCTION attune.policy_count() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  IF tg_op = 'INSERT' THEN
    UPDATE policy_group g SET active = g.active + c.active, waiting = g.waiting + c.waiting
    FROM (SELECT policy_group, count(*) FILTER (WHERE state = 'active') AS active, count(*) FILTER (WHERE state = 'waiting') AS waiting
      FROM after_rows GROUP BY policy_group) c WHERE g.id = c.policy_group;
  ELSIF tg_op = 'DELETE' THEN
    UPDATE policy_group g SET active = g.active - c.active, waiting = g.waiting - c.waiting
    FROM (SELECT policy_group, count(*) FILTER (WHERE state = 'active') AS active, count(*) FILTER (WHERE state = 'waiting') AS waiting
      FROM before_rows WHERE state <> 'released' GROUP BY policy_group) c WHERE g.id = c.policy_group;
  ELSE
    UPDATE policy_group g SET active = g.active + c.active, waiting = g.waiting + c.waiting
    FROM (SELECT policy_group, sum(active) AS active, sum(waiting) AS waiting FROM (
        SELECT policy_group, (state = 'active')::int AS active, (state = 'waiting')::int AS waiting FROM after_rows
        UNION ALL SELECT policy_group, -(state = 'active')::int, -(state = 'waiting')::int FROM before_rows) s
      GROUP BY policy_group) c
    WHERE g.id = c.policy_group AND (c.active <> 0 OR c.waiting <> 0);
  END IF;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER policy_count_inserted AFTER INSERT ON attune.policy_slot REFERENCING NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION attune.policy_count();
--> statement-breakpoint
CREATE TRIGGER policy_count_updated AFTER UPDATE ON attune.policy_slot REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION attune.policy_count();
--> statement-breakpoint
CREATE TRIGGER policy_count_deleted AFTER DELETE ON attune.policy_slot REFERENCING OLD TABLE AS before_rows
  FOR EACH STATEMENT EXECUTE FUNCTION attune.policy_count();
--> statement-breakpoint

-- Slots -------------------------------------------------------------------------------------------------------------------
-- Each of these functions locks groups in the order of (policy, key) and reads in a later statement what the lock protects.

-- How many of the last starts count for the rate now, and the oldest of them.
CREATE FUNCTION attune.policy_rate(of_group bigint, most int, seconds int, OUT started int, OUT oldest timestamptz)
  LANGUAGE sql VOLATILE SET search_path = attune, pg_temp
  AS $$
    SELECT count(*)::int, min(acquired_at) FROM (
      SELECT acquired_at FROM policy_slot WHERE policy_group = of_group
        AND acquired_at > clock_timestamp() - make_interval(secs => seconds)
      ORDER BY acquired_at DESC LIMIT most) s
  $$;
--> statement-breakpoint
-- Creates and locks the groups of executions: `[{ord, policy, execution | config}]`. A policy that is disabled or gone has none.
CREATE FUNCTION attune.policy_enter(entering jsonb)
  RETURNS TABLE (ord int, policy_group bigint, policy_ref text, active int, waiting int, method policy_method, threshold int,
    rate_max int, rate_window_seconds int, started int, oldest timestamptz)
  LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
#variable_conflict use_column
DECLARE
  places constant jsonb := (
    SELECT jsonb_agg(jsonb_build_object('ord', r.ord, 'policy', p.id, 'key',
      policy_key(p.parameters, coalesce(r.config, (SELECT e.config FROM execution e WHERE e.id = r.execution)))))
    FROM jsonb_to_recordset(entering) AS r(ord int, policy bigint, execution bigint, config jsonb)
      JOIN (SELECT id, parameters FROM policy WHERE enabled AND id IN (
        SELECT DISTINCT (x ->> 'policy')::bigint FROM jsonb_array_elements(entering) x) ORDER BY id FOR KEY SHARE) p ON p.id = r.policy);
BEGIN
  INSERT INTO policy_group (policy, key)
    SELECT DISTINCT r.policy, r.key FROM jsonb_to_recordset(places) AS r(policy bigint, key text) ORDER BY 1, 2
    ON CONFLICT (policy, key) DO UPDATE SET key = excluded.key;
  RETURN QUERY
    SELECT r.ord, g.id, p.ref, g.active, g.waiting, p.method, p.threshold, p.rate_max, p.rate_window_seconds, s.started, s.oldest
    FROM jsonb_to_recordset(places) AS r(ord int, policy bigint, key text)
      JOIN policy p ON p.id = r.policy AND p.enabled JOIN policy_group g ON g.policy = r.policy AND g.key = r.key
      LEFT JOIN LATERAL policy_rate(g.id, p.rate_max, p.rate_window_seconds) s ON p.rate_max IS NOT NULL
    ORDER BY r.ord;
END $$;
--> statement-breakpoint
-- Gives free slots to executions that wait, and returns those executions. One that another transaction has locked is tried again soon.
-- A row without an id says that a group is to be tried again at its `next_at`.
CREATE FUNCTION attune.policy_promote(of_groups bigint[])
  RETURNS TABLE (id bigint, runtime_ref text, priority int)
  LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
#variable_conflict use_column
DECLARE
  g record;
  room int;
  started int;
  oldest timestamptz;
  next bigint[];
  later boolean := false;
BEGIN
  FOR g IN
    SELECT s.id, s.active, p.threshold, p.rate_max, p.rate_window_seconds
    FROM policy_group s JOIN policy p ON p.id = s.policy
    WHERE s.id = ANY (of_groups) ORDER BY s.policy, s.key FOR NO KEY UPDATE OF s
  LOOP
    -- What the lock protects is read after it, in statements of their own.
    SELECT s.active, s.waiting, p.threshold, p.rate_max, p.rate_window_seconds INTO g.active, room, g.threshold, g.rate_max, g.rate_window_seconds
      FROM policy_group s JOIN policy p ON p.id = s.policy WHERE s.id = g.id;
    IF room = 0 THEN
      UPDATE policy_group s SET next_at = null WHERE s.id = g.id AND s.next_at IS NOT NULL;
      CONTINUE;
    END IF;
    room := greatest(least(room, g.threshold - g.active), 0);
    started := 0;
    oldest := null;
    IF g.rate_max IS NOT NULL THEN
      SELECT r.started, r.oldest INTO started, oldest FROM policy_rate(g.id, g.rate_max, g.rate_window_seconds) r;
      room := least(room, g.rate_max - started);
    END IF;
    next := ARRAY(SELECT s.execution FROM policy_slot s WHERE s.policy_group = g.id AND s.state = 'waiting'
      ORDER BY s.priority DESC, s.id LIMIT room);
    next := ARRAY(SELECT e.id FROM execution e WHERE e.id = ANY (next) AND e.status = 'scheduling' ORDER BY e.id
      FOR NO KEY UPDATE SKIP LOCKED);
    UPDATE policy_slot s SET state = 'active', acquired_at = clock_timestamp() WHERE s.execution = ANY (next);
    RETURN QUERY
      UPDATE execution e SET status = 'scheduled', waits_for = null, reason = null, scheduled_at = now()
      FROM (SELECT x.id, rt.ref FROM execution x LEFT JOIN action a ON a.id = x.action LEFT JOIN runtime rt ON rt.id = a.runtime
        WHERE x.id = ANY (next)) x
      WHERE e.id = x.id RETURNING e.id, x.ref, e.priority;
    UPDATE policy_group s SET next_at = CASE WHEN s.waiting = 0 THEN null WHEN cardinality(next) < room THEN clock_timestamp() + interval '100 milliseconds'
        WHEN started + cardinality(next) >= g.rate_max
          THEN coalesce(oldest, clock_timestamp()) + make_interval(secs => g.rate_window_seconds)
      END WHERE s.id = g.id RETURNING s.next_at IS NOT NULL OR later INTO later;
  END LOOP;
  IF later THEN RETURN QUERY SELECT null::bigint, null::text, null::int; END IF;
END $$;
--> statement-breakpoint
-- Takes executions out of their groups, and returns the groups. Where the policy has a rate, the start of one that has ended goes on
-- counting.
CREATE FUNCTION attune.policy_vacate(executions bigint[], ended boolean) RETURNS bigint[]
  LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  groups constant bigint[] := ARRAY(SELECT g.id FROM policy_group g WHERE g.id IN (
    SELECT s.policy_group FROM policy_slot s WHERE s.execution = ANY (executions)) ORDER BY g.policy, g.key FOR NO KEY UPDATE OF g);
BEGIN
  UPDATE policy_slot s SET state = 'released' FROM policy_group g JOIN policy p ON p.id = g.policy
    WHERE ended AND s.execution = ANY (executions) AND g.id = s.policy_group AND s.state = 'active' AND p.rate_max IS NOT NULL;
  DELETE FROM policy_slot s WHERE s.execution = ANY (executions) AND (s.state <> 'released' OR NOT ended);
  RETURN groups;
END $$;
--> statement-breakpoint
-- Frees the slots of executions that have ended, gives them to the next, and returns those.
CREATE FUNCTION attune.policy_leave(executions bigint[]) RETURNS TABLE (id bigint, runtime_ref text, priority int)
  LANGUAGE sql SET search_path = attune, pg_temp
  AS $$ SELECT * FROM policy_promote(policy_vacate(executions, true)) $$;
