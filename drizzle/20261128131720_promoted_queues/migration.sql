-- Promoting returns the queues, too: the statement that calls it may have begun before what is promoted was committed, and then does not see it.
DROP FUNCTION attune.policy_leave(bigint[]);
--> statement-breakpoint
DROP FUNCTION attune.policy_promote(bigint[]);
--> statement-breakpoint
CREATE FUNCTION attune.policy_promote(of_groups bigint[]) RETURNS TABLE (id bigint, queue text, priority int) LANGUAGE plpgsql
  SET search_path = attune, pg_temp AS $$
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
      WHERE e.id = x.id RETURNING e.id, execution_queue(x.ref, e.worker_selector), e.priority;
    UPDATE policy_group s SET next_at = CASE WHEN s.waiting = 0 THEN null WHEN cardinality(next) < room THEN clock_timestamp() + interval '100 milliseconds'
        WHEN started + cardinality(next) >= g.rate_max
          THEN coalesce(oldest, clock_timestamp()) + make_interval(secs => g.rate_window_seconds)
      END WHERE s.id = g.id RETURNING s.next_at IS NOT NULL OR later INTO later;
  END LOOP;
  IF later THEN RETURN QUERY SELECT null::bigint, null::text, null::int; END IF;
END $$;
--> statement-breakpoint
CREATE FUNCTION attune.policy_leave(executions bigint[]) RETURNS TABLE (id bigint, queue text, priority int) LANGUAGE sql
  SET search_path = attune, pg_temp AS $$ SELECT * FROM policy_promote(policy_vacate(executions, true)) $$;
