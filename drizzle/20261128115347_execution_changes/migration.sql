-- What follows from the change of a status is done once for each statement, not for each of its rows.
DROP TRIGGER execution_a_move ON attune.execution;
--> statement-breakpoint
DROP TRIGGER execution_touch ON attune.execution;
--> statement-breakpoint
DROP TRIGGER execution_over ON attune.execution;
--> statement-breakpoint
DROP TRIGGER execution_tell ON attune.execution;
--> statement-breakpoint
DROP FUNCTION attune.execution_over();
--> statement-breakpoint
-- The only function of all changes of a row. It sets no search path, which takes as long as the rest: each name has its schema.
CREATE FUNCTION attune.execution_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF old.status <> new.status
    AND NOT EXISTS (SELECT FROM attune.execution_move m WHERE m.from_status = old.status AND m.to_status = new.status) THEN
    RAISE EXCEPTION 'an execution cannot move from % to %', old.status, new.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'execution_move', TABLE = 'execution';
  END IF;
  new.updated := greatest(clock_timestamp(), old.updated + interval '1 millisecond');
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER execution_update BEFORE UPDATE ON attune.execution FOR EACH ROW
  WHEN (NOT attune.is_terminal(old.status)) EXECUTE FUNCTION attune.execution_update();
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.execution_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'an execution cannot move from nothing to %', new.status
    USING ERRCODE = 'check_violation', CONSTRAINT = 'execution_move', TABLE = 'execution';
END $$;
--> statement-breakpoint
-- Reports executions that have ended, but not those that the rules for such reports start, nor what these start: it would go on for ever.
CREATE FUNCTION attune.executions_tell(ended bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = attune, pg_temp SET enable_seqscan = off AS $$
BEGIN
  IF NOT is_wanted('core.execution_ended') THEN RETURN; END IF;
  INSERT INTO platform_event (trigger_ref, payload, cause_execution, generation, trace_tag)
    SELECT 'core.execution_ended', jsonb_strip_nulls(jsonb_build_object('execution', global_id('Execution', e.id), 'action', e.action_ref,
        'status', e.status, 'rule', e.rule_ref, 'trigger', e.trigger_ref, 'parent', global_id('Execution', e.parent),
        'attempt', e.attempt)), e.id, e.generation + 1, e.trace_tag
    FROM execution e WHERE e.id = ANY (ended)
      AND NOT EXISTS (SELECT FROM execution x WHERE x.id IN (e.id, e.root) AND x.trigger_ref = 'core.execution_ended')
    ORDER BY e.id;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.execution_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM executions_tell(ARRAY[new.id]);
  RETURN null;
END $$;
--> statement-breakpoint
-- An attempt's inquiries and tokens end with it: `stopped` are to end or have ended, `released` have ended and had a token.
CREATE FUNCTION attune.executions_stop(stopped bigint[], released bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = attune, pg_temp SET enable_seqscan = off AS $$
BEGIN
  UPDATE inquiry SET status = 'cancelled' WHERE execution = ANY (stopped) AND status = 'pending';
  IF released IS NOT NULL THEN
    UPDATE token SET revoked_at = now() WHERE execution = ANY (released) AND kind = 'execution' AND revoked_at IS NULL;
  END IF;
END $$;
--> statement-breakpoint
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
  SELECT array_agg(n.id ORDER BY n.id),
      array_agg(n.id) FILTER (WHERE n.status <> 'canceling' AND n.permission_set_refs <> '{}'),
      array_agg(n.id) FILTER (WHERE is_terminal(n.status))
    INTO stopped, released, ended
    FROM after_rows n JOIN before_rows o USING (id)
    WHERE o.status <> n.status
      AND (is_terminal(n.status) OR n.status = 'canceling' OR (o.status = 'running' AND n.status = 'scheduled'));
  IF stopped IS NOT NULL THEN PERFORM executions_stop(stopped, released); END IF;
  IF ended IS NOT NULL THEN PERFORM executions_tell(ended); END IF;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'execution', 'execution', n.id, 'status', execution_content(n, o.status, n.status, n.reason),
      split_part(n.action_ref, '.', 1)
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  RETURN null;
END $$;
