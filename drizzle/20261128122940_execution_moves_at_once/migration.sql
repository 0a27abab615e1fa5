-- One statement reads what has moved for all that follows. Without a move, nothing takes a number of the feed.
CREATE OR REPLACE FUNCTION attune.execution_moved() RETURNS trigger LANGUAGE plpgsql
  SET search_path = attune, pg_temp SET enable_nestloop = off AS $$
DECLARE
  stopped bigint[];
  released bigint[];
  ended bigint[];
BEGIN
  INSERT INTO execution_transition (execution, from_status, to_status, at, attempt, worker, reason)
    SELECT n.id, o.status, n.status, clock_timestamp(), n.attempt, n.worker, n.reason
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  IF NOT FOUND THEN RETURN null; END IF;
  WITH moved AS MATERIALIZED (
      SELECT n.id, n.status, n.action_ref, o.status AS was, n.permission_set_refs <> '{}' AS has_token,
        execution_content(n, o.status, n.status, n.reason) AS content
      FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id),
    feed AS (INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
      SELECT 'execution', 'execution', id, 'status', content, split_part(action_ref, '.', 1) FROM moved)
    SELECT array_agg(id), array_agg(id) FILTER (WHERE status <> 'canceling' AND has_token), array_agg(id) FILTER (WHERE is_terminal(status))
    INTO stopped, released, ended
    FROM moved WHERE is_terminal(status) OR status = 'canceling' OR (was = 'running' AND status = 'scheduled');
  IF stopped IS NOT NULL THEN PERFORM executions_stop(stopped, released); END IF;
  IF ended IS NOT NULL THEN PERFORM executions_tell(ended); END IF;
  RETURN null;
END $$;
