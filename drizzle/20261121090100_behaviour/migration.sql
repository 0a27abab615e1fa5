-- What drizzle-kit cannot express: versions, commit-order labels, status moves, timelines, the notification log.

-- Versions and labels ---------------------------------------------------------------------------------------------

-- Strictly growing, hence usable as a version.
CREATE FUNCTION attune.touch() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.updated := greatest(clock_timestamp(), old.updated + interval '1 millisecond');
  RETURN new;
END $$;
--> statement-breakpoint
-- The label never falls below the writer's own transaction id, nor below the row's previous label: one row's changes
-- keep their order in the log, whichever transaction began first.
CREATE FUNCTION attune.touch_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.updated := greatest(clock_timestamp(), old.updated + interval '1 millisecond');
  new.changed := greatest(pg_current_xact_id(), old.changed);
  RETURN new;
END $$;
--> statement-breakpoint
CREATE FUNCTION attune.relabel() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.changed := greatest(pg_current_xact_id(), old.changed);
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER runtime_touch BEFORE UPDATE ON attune.runtime FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE TRIGGER identity_touch BEFORE UPDATE ON attune.identity FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE TRIGGER permission_set_touch BEFORE UPDATE ON attune.permission_set FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE TRIGGER timer_touch BEFORE UPDATE ON attune.timer FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE TRIGGER pack_touch BEFORE UPDATE ON attune.pack FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER key_touch BEFORE UPDATE ON attune.key FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER trigger_touch BEFORE UPDATE ON attune.trigger FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER action_touch BEFORE UPDATE ON attune.action FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER enforcement_touch BEFORE UPDATE ON attune.enforcement FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER worker_touch BEFORE UPDATE ON attune.worker FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER token_relabel BEFORE UPDATE ON attune.token FOR EACH ROW EXECUTE FUNCTION attune.relabel();
--> statement-breakpoint
CREATE TRIGGER event_relabel BEFORE UPDATE ON attune.event FOR EACH ROW EXECUTE FUNCTION attune.relabel();
--> statement-breakpoint

-- Keys --------------------------------------------------------------------------------------------------------------

CREATE FUNCTION attune.key_owner() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.owner := CASE new.owner_type
    WHEN 'system' THEN 'system'
    WHEN 'identity' THEN (SELECT login FROM identity WHERE id = new.owner_identity)
    WHEN 'pack' THEN (SELECT ref FROM pack WHERE id = new.owner_pack)
    WHEN 'action' THEN (SELECT ref FROM action WHERE id = new.owner_action)
  END;
  IF new.owner IS NULL THEN
    RAISE EXCEPTION 'a key of owner type % must name its owner', new.owner_type
      USING ERRCODE = 'check_violation', CONSTRAINT = 'key_owner_check', TABLE = 'key';
  END IF;
  new.ref := CASE new.owner_type WHEN 'system' THEN 'system.' || new.name
    ELSE new.owner_type || '.' || new.owner || '.' || new.name END;
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER key_owner BEFORE INSERT OR UPDATE ON attune.key FOR EACH ROW EXECUTE FUNCTION attune.key_owner();
--> statement-breakpoint

-- Rules: revisions ----------------------------------------------------------------------------------------------------

CREATE FUNCTION attune.rule_revise() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.updated := greatest(clock_timestamp(), old.updated + interval '1 millisecond');
  new.changed := greatest(pg_current_xact_id(), old.changed);
  IF (to_jsonb(new) - '{updated,changed,revision,label,description}'::text[])
    IS DISTINCT FROM (to_jsonb(old) - '{updated,changed,revision,label,description}'::text[]) THEN
    new.revision := old.revision + 1;
  END IF;
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER rule_revise BEFORE UPDATE ON attune.rule FOR EACH ROW EXECUTE FUNCTION attune.rule_revise();
--> statement-breakpoint
-- Compiled rules are cached by (trigger, rules_revision): whatever may change the set adds one in the same transaction.
CREATE FUNCTION attune.rule_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE trigger SET rules_revision = rules_revision + 1
    WHERE id IN (CASE WHEN tg_op <> 'INSERT' THEN old.trigger END, CASE WHEN tg_op <> 'DELETE' THEN new.trigger END);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER rule_invalidate AFTER INSERT OR DELETE ON attune.rule
  FOR EACH ROW EXECUTE FUNCTION attune.rule_invalidate();
--> statement-breakpoint
CREATE TRIGGER rule_invalidate_update AFTER UPDATE ON attune.rule
  FOR EACH ROW WHEN (old.revision <> new.revision) EXECUTE FUNCTION attune.rule_invalidate();
--> statement-breakpoint
CREATE FUNCTION attune.action_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE trigger SET rules_revision = rules_revision + 1 WHERE id IN (SELECT trigger FROM rule WHERE action = new.id);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER action_invalidate AFTER UPDATE ON attune.action FOR EACH ROW
  WHEN (to_jsonb(old) - '{updated,changed,label,description}'::text[]
    IS DISTINCT FROM to_jsonb(new) - '{updated,changed,label,description}'::text[])
  EXECUTE FUNCTION attune.action_invalidate();
--> statement-breakpoint
CREATE FUNCTION attune.pack_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE trigger SET rules_revision = rules_revision + 1
    WHERE id IN (SELECT r.trigger FROM rule r LEFT JOIN action a ON a.id = r.action WHERE new.id IN (r.pack, a.pack));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_invalidate AFTER UPDATE ON attune.pack FOR EACH ROW
  WHEN (old.config IS DISTINCT FROM new.config OR old.active_release IS DISTINCT FROM new.active_release)
  EXECUTE FUNCTION attune.pack_invalidate();
--> statement-breakpoint

-- Executions: moves, immutability ---------------------------------------------------------------------------------------

INSERT INTO attune.execution_move (from_status, to_status) VALUES
  (null, 'requested'), (null, 'scheduling'), (null, 'scheduled'), (null, 'cancelled'), (null, 'failed'),
  ('requested', 'scheduling'), ('requested', 'cancelled'),
  ('scheduling', 'scheduled'), ('scheduling', 'cancelled'), ('scheduling', 'failed'),
  ('scheduled', 'running'), ('scheduled', 'cancelled'), ('scheduled', 'failed'),
  ('running', 'completed'), ('running', 'failed'), ('running', 'timeout'), ('running', 'canceling'),
  ('running', 'abandoned'), ('running', 'scheduled'),
  ('canceling', 'cancelled'), ('canceling', 'abandoned');
--> statement-breakpoint
CREATE FUNCTION attune.execution_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  was execution_status;
BEGIN
  IF tg_op = 'UPDATE' THEN was := old.status; END IF;
  IF NOT EXISTS (SELECT FROM execution_move m
    WHERE m.from_status IS NOT DISTINCT FROM was AND m.to_status = new.status) THEN
    RAISE EXCEPTION 'an execution cannot move from % to %', coalesce(was::text, 'nothing'), new.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'execution_move', TABLE = 'execution';
  END IF;
  RETURN new;
END $$;
--> statement-breakpoint
-- A terminal row changes only where the target of a foreign key was deleted; such a clearing leaves `updated` alone.
CREATE FUNCTION attune.execution_ended() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  clearable constant text[] :=
    '{action,parent,enforcement,executor,worker,retry_of,rerun_of,cancel_requested_by,pack_release}';
  was constant jsonb := to_jsonb(old);
  becomes constant jsonb := to_jsonb(new);
  name text;
BEGIN
  IF was - clearable IS DISTINCT FROM becomes - clearable THEN
    RAISE EXCEPTION 'execution % has ended (%): it cannot change', old.id, old.status
      USING ERRCODE = 'check_violation', CONSTRAINT = 'execution_terminal', TABLE = 'execution';
  END IF;
  FOREACH name IN ARRAY clearable LOOP
    IF becomes ->> name IS NOT NULL AND becomes ->> name IS DISTINCT FROM was ->> name THEN
      RAISE EXCEPTION 'execution % has ended (%): % cannot change', old.id, old.status, name
        USING ERRCODE = 'check_violation', CONSTRAINT = 'execution_terminal', TABLE = 'execution';
    END IF;
  END LOOP;
  RETURN new;
END $$;
--> statement-breakpoint
-- Row triggers fire in the order of their names: the guards before the touch.
CREATE TRIGGER execution_a_insert BEFORE INSERT ON attune.execution FOR EACH ROW
  WHEN (new.status NOT IN ('requested', 'scheduling', 'scheduled', 'cancelled', 'failed'))
  EXECUTE FUNCTION attune.execution_guard();
--> statement-breakpoint
CREATE TRIGGER execution_a_ended BEFORE UPDATE ON attune.execution FOR EACH ROW
  WHEN (attune.is_terminal(old.status)) EXECUTE FUNCTION attune.execution_ended();
--> statement-breakpoint
CREATE TRIGGER execution_a_move BEFORE UPDATE ON attune.execution FOR EACH ROW
  WHEN (old.status IS DISTINCT FROM new.status) EXECUTE FUNCTION attune.execution_guard();
--> statement-breakpoint
CREATE TRIGGER execution_touch BEFORE UPDATE ON attune.execution FOR EACH ROW
  WHEN (NOT attune.is_terminal(old.status)) EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint

-- The timeline and the notification log -----------------------------------------------------------------------------------
-- Statement-level, over transition tables: one insert for a whole batch.

CREATE FUNCTION attune.execution_content(e attune.execution, from_status attune.execution_status,
  to_status attune.execution_status, reason text) RETURNS jsonb LANGUAGE sql STABLE
  RETURN jsonb_build_object('actionRef', e.action_ref, 'fromStatus', from_status, 'toStatus', to_status,
    'reason', reason, 'attempt', e.attempt, 'action', e.action::text, 'parent', e.parent::text, 'root', e.root::text,
    'enforcement', e.enforcement::text, 'executor', e.executor::text, 'worker', e.worker::text,
    'ruleRef', e.rule_ref, 'triggerRef', e.trigger_ref, 'traceTag', e.trace_tag, 'createdAt', e.created);
--> statement-breakpoint
-- An insert further along than `requested` records the path that led there.
CREATE FUNCTION attune.execution_path(status attune.execution_status)
  RETURNS TABLE (step int, from_status attune.execution_status, to_status attune.execution_status)
  LANGUAGE sql IMMUTABLE ROWS 3
  BEGIN ATOMIC
    SELECT * FROM (VALUES (1, null::attune.execution_status, 'requested'::attune.execution_status),
      (2, 'requested', 'scheduling'), (3, 'scheduling', status)) AS path
    WHERE column1 = 1 OR (column1 = 2 AND status <> 'requested') OR (column1 = 3 AND status NOT IN ('requested', 'scheduling'));
  END;
--> statement-breakpoint
CREATE FUNCTION attune.execution_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO execution_transition (execution, from_status, to_status, at, attempt, worker, reason)
    SELECT e.id, p.from_status, p.to_status, clock_timestamp(), e.attempt, e.worker,
      CASE WHEN p.to_status = e.status THEN e.reason END
    FROM inserted e, execution_path(e.status) p ORDER BY e.id, p.step;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    SELECT 'execution', 'execution', e.id, CASE p.step WHEN 1 THEN 'created' ELSE 'status' END,
      execution_content(e, p.from_status, p.to_status, CASE WHEN p.to_status = e.status THEN e.reason END),
      split_part(e.action_ref, '.', 1), e.changed
    FROM inserted e, execution_path(e.status) p ORDER BY e.id, p.step;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER execution_inserted AFTER INSERT ON attune.execution REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION attune.execution_inserted();
--> statement-breakpoint
-- Transition tables have no index: joined by a nested loop they cost the square of the batch.
CREATE FUNCTION attune.execution_moved() RETURNS trigger LANGUAGE plpgsql
  SET search_path = attune, pg_temp SET enable_nestloop = off AS $$
BEGIN
  INSERT INTO execution_transition (execution, from_status, to_status, at, attempt, worker, reason)
    SELECT n.id, o.status, n.status, clock_timestamp(), n.attempt, n.worker, n.reason
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    SELECT 'execution', 'execution', n.id, 'status', execution_content(n, o.status, n.status, n.reason),
      split_part(n.action_ref, '.', 1), n.changed
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER execution_moved AFTER UPDATE ON attune.execution
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION attune.execution_moved();
--> statement-breakpoint
CREATE FUNCTION attune.event_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    SELECT 'event', 'event', e.id, 'created',
      jsonb_build_object('triggerRef', e.trigger_ref, 'traceTag', e.trace_tag, 'sourceRef', e.source_ref),
      split_part(e.trigger_ref, '.', 1), e.changed
    FROM inserted e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER event_inserted AFTER INSERT ON attune.event REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION attune.event_inserted();
--> statement-breakpoint
CREATE FUNCTION attune.enforcement_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    SELECT 'enforcement', 'enforcement', e.id, 'created',
      jsonb_build_object('ruleRef', e.rule_ref, 'triggerRef', e.trigger_ref, 'status', e.status, 'event', e.event::text),
      split_part(e.rule_ref, '.', 1), e.changed
    FROM inserted e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER enforcement_inserted AFTER INSERT ON attune.enforcement REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION attune.enforcement_inserted();
--> statement-breakpoint
CREATE FUNCTION attune.enforcement_moved() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    SELECT 'enforcement', 'enforcement', n.id, 'status',
      jsonb_build_object('ruleRef', n.rule_ref, 'triggerRef', n.trigger_ref, 'status', n.status, 'event', n.event::text),
      split_part(n.rule_ref, '.', 1), n.changed
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER enforcement_moved AFTER UPDATE ON attune.enforcement
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION attune.enforcement_moved();
--> statement-breakpoint
CREATE FUNCTION attune.worker_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, xid)
    VALUES ('worker', 'worker', new.id, CASE tg_op WHEN 'INSERT' THEN 'created' ELSE 'status' END,
      jsonb_build_object('name', new.name, 'status', new.status, 'cordoned', new.cordoned), new.changed);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER worker_inserted AFTER INSERT ON attune.worker FOR EACH ROW EXECUTE FUNCTION attune.worker_notify();
--> statement-breakpoint
CREATE TRIGGER worker_moved AFTER UPDATE ON attune.worker FOR EACH ROW
  WHEN (old.status IS DISTINCT FROM new.status OR old.cordoned IS DISTINCT FROM new.cordoned)
  EXECUTE FUNCTION attune.worker_notify();
--> statement-breakpoint
-- Catalog rows: what changed is told by ref; never a key's or a token's value.
CREATE FUNCTION attune.catalog_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entity_row constant jsonb := to_jsonb(CASE tg_op WHEN 'DELETE' THEN old ELSE new END);
  label constant xid8 := CASE tg_op WHEN 'INSERT' THEN new.changed
    WHEN 'DELETE' THEN greatest(pg_current_xact_id(), old.changed) ELSE new.changed END;
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    VALUES (tg_table_name, tg_table_name, (entity_row ->> 'id')::bigint,
      CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END,
      jsonb_strip_nulls(jsonb_build_object('ref', entity_row ->> 'ref', 'enabled', entity_row -> 'enabled',
        'kind', entity_row ->> 'kind')),
      CASE tg_table_name WHEN 'pack' THEN entity_row ->> 'ref' ELSE entity_row ->> 'pack_ref' END, label);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER rule_notify AFTER INSERT OR UPDATE OR DELETE ON attune.rule
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER pack_notify AFTER INSERT OR UPDATE OR DELETE ON attune.pack
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER key_notify AFTER INSERT OR UPDATE OR DELETE ON attune.key
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER token_notify AFTER INSERT OR DELETE ON attune.token
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER token_notify_update AFTER UPDATE ON attune.token FOR EACH ROW
  WHEN (old.revoked_at IS DISTINCT FROM new.revoked_at OR old.expires_at IS DISTINCT FROM new.expires_at)
  EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint

-- The one row of the epoch -------------------------------------------------------------------------------------------------

-- Begun with the time: a database made anew in the place of an older one does not understand that one's cursors.
INSERT INTO attune.notification_epoch (epoch) VALUES (extract(epoch FROM now())::bigint);
--> statement-breakpoint
-- The log is read back in the order of its own label; a worker is healthy while it beats.
CREATE VIEW attune.healthy_worker AS
  SELECT * FROM attune.worker WHERE status IN ('active', 'busy') AND last_heartbeat > now() - interval '30 seconds';
