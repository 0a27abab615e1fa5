-- The log is ordered by its id, and only its own writers hold back its readers. Entries that are there already keep their ids:
-- the second writer of a row had to wait for the first, so each row's changes are in order by id as well.

-- Writing to the log ----------------------------------------------------------------------------------------------------

-- Once in each writing transaction, before its first entry: a shared lock on a number taken from the log's own sequence, so
-- that all entries of the transaction have higher ids. Readers trust only what lies below the smallest number locked. A
-- setting of the transaction, with the transaction's id as its value, says that the lock is held: a rollback to a savepoint
-- undoes both, and a SET by somebody else only has another lock taken.
-- It names its sequence with the schema: setting a search path would cost half as much again.
CREATE FUNCTION attune.notification_enter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('attune.entered', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
    PERFORM pg_advisory_xact_lock_shared(16724::bigint << 48 | nextval('attune.notification_id_seq'));
    PERFORM set_config('attune.entered', pg_current_xact_id()::text, true);
  END IF;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER notification_enter BEFORE INSERT ON attune.notification
  FOR EACH STATEMENT EXECUTE FUNCTION attune.notification_enter();
--> statement-breakpoint
-- Also where session_replication_role turns ordinary triggers off.
ALTER TABLE attune.notification ENABLE ALWAYS TRIGGER notification_enter;
--> statement-breakpoint
-- The transactions that are writing to the log, each with the number that it has locked; 16724 marks these locks.
CREATE VIEW attune.notification_writer AS
  SELECT (classid::bigint & 65535) << 32 | objid::bigint AS entered, pid, virtualtransaction FROM pg_locks
  WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = 16724
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
--> statement-breakpoint

-- Reading the log -------------------------------------------------------------------------------------------------------

-- `log` names this log in cursors. The name differs in a restored or copied database and after a promotion, where the same ids
-- may stand for other entries. `newest` is the highest id that is or was visible (retention may have emptied the log); the
-- sequence would be wrong, because it runs ahead. A standby is refused: it has the entries but not their writers' locks.
CREATE FUNCTION attune.notification_extent(OUT log text, OUT pruned bigint, OUT newest bigint)
  LANGUAGE plpgsql STABLE SET search_path = attune, pg_temp AS $$
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'the notification log cannot be read on a standby'
      USING ERRCODE = 'read_only_sql_transaction', HINT = 'Connect to the primary server.';
  END IF;
  SELECT left(encode(sha256(convert_to(concat_ws('/', c.system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8),
      d.oid, 'notification'::regclass::oid), 'utf8')), 'hex'), 12)
    INTO log FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();
  SELECT coalesce(max(r.pruned_id), 0) INTO pruned FROM notification_retention r;
  SELECT coalesce(max(n.id), pruned) INTO newest FROM notification n;
END $$;
--> statement-breakpoint
-- All entries up to `settled` are visible to every statement that begins later: a commit becomes visible before its locks are
-- released. They must be read in another statement, whose snapshot is younger than the look at the locks. `behind` is what the
-- reader has already; the locks are not looked at when there is nothing after it.
CREATE FUNCTION attune.notification_settled(behind bigint, OUT log text, OUT settled bigint, OUT newest bigint)
  LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entered bigint;
BEGIN
  SELECT e.log, e.newest INTO log, newest FROM notification_extent() e;
  IF newest > behind THEN
    SELECT min(w.entered) INTO entered FROM notification_writer w;
  END IF;
  settled := least(entered - 1, newest);
END $$;
--> statement-breakpoint

-- Entries without a label ----------------------------------------------------------------------------------------------
-- A statement that has moved no execution takes no lock and gets no transaction id.

CREATE OR REPLACE FUNCTION attune.execution_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO execution_transition (execution, from_status, to_status, at, attempt, worker, reason)
    SELECT e.id, p.from_status, p.to_status, clock_timestamp(), e.attempt, e.worker,
      CASE WHEN p.to_status = e.status THEN e.reason END
    FROM inserted e, execution_path(e.status) p ORDER BY e.id, p.step;
  IF NOT FOUND THEN RETURN null; END IF;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'execution', 'execution', e.id, CASE p.step WHEN 1 THEN 'created' ELSE 'status' END,
      execution_content(e, p.from_status, p.to_status, CASE WHEN p.to_status = e.status THEN e.reason END),
      split_part(e.action_ref, '.', 1)
    FROM inserted e, execution_path(e.status) p ORDER BY e.id, p.step;
  RETURN null;
END $$;
--> statement-breakpoint
-- Transition tables have no index: joined by a nested loop they cost the square of the batch.
CREATE OR REPLACE FUNCTION attune.execution_moved() RETURNS trigger LANGUAGE plpgsql
  SET search_path = attune, pg_temp SET enable_nestloop = off AS $$
BEGIN
  INSERT INTO execution_transition (execution, from_status, to_status, at, attempt, worker, reason)
    SELECT n.id, o.status, n.status, clock_timestamp(), n.attempt, n.worker, n.reason
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  IF NOT FOUND THEN RETURN null; END IF;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'execution', 'execution', n.id, 'status', execution_content(n, o.status, n.status, n.reason),
      split_part(n.action_ref, '.', 1)
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.event_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'event', 'event', e.id, 'created',
      jsonb_build_object('triggerRef', e.trigger_ref, 'traceTag', e.trace_tag, 'sourceRef', e.source_ref),
      split_part(e.trigger_ref, '.', 1)
    FROM inserted e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.enforcement_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'enforcement', 'enforcement', e.id, 'created',
      jsonb_build_object('ruleRef', e.rule_ref, 'triggerRef', e.trigger_ref, 'status', e.status, 'event', e.event::text),
      split_part(e.rule_ref, '.', 1)
    FROM inserted e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.enforcement_moved() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'enforcement', 'enforcement', n.id, 'status',
      jsonb_build_object('ruleRef', n.rule_ref, 'triggerRef', n.trigger_ref, 'status', n.status, 'event', n.event::text),
      split_part(n.rule_ref, '.', 1)
    FROM after_rows n JOIN before_rows o USING (id) WHERE o.status <> n.status ORDER BY n.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.worker_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content)
    VALUES ('worker', 'worker', new.id, CASE tg_op WHEN 'INSERT' THEN 'created' ELSE 'status' END,
      jsonb_build_object('name', new.name, 'status', new.status, 'cordoned', new.cordoned));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.catalog_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entity_row constant jsonb := to_jsonb(CASE tg_op WHEN 'DELETE' THEN old ELSE new END);
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    VALUES (tg_table_name, tg_table_name, (entity_row ->> 'id')::bigint,
      CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END,
      jsonb_strip_nulls(jsonb_build_object('ref', entity_row ->> 'ref', 'enabled', entity_row -> 'enabled',
        'kind', entity_row ->> 'kind')),
      CASE tg_table_name WHEN 'pack' THEN entity_row ->> 'ref' ELSE entity_row ->> 'pack_ref' END);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.inquiry_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  asker execution;
BEGIN
  SELECT * INTO asker FROM execution WHERE id = new.execution;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    VALUES ('inquiry', 'inquiry', new.id, CASE tg_op WHEN 'INSERT' THEN 'created' ELSE 'status' END,
      jsonb_build_object('fromStatus', CASE tg_op WHEN 'UPDATE' THEN old.status END, 'toStatus', new.status,
        'execution', new.execution::text, 'actionRef', asker.action_ref, 'executor', asker.executor::text,
        'assignedTo', new.assigned_to::text, 'assignedRole', new.assigned_role, 'timeoutAt', new.timeout_at,
        'createdAt', new.created),
      split_part(asker.action_ref, '.', 1));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.access_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entity_row constant jsonb := to_jsonb(CASE tg_op WHEN 'DELETE' THEN old ELSE new END);
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity)
    VALUES ('access', tg_table_name, (entity_row ->> 'id')::bigint,
      CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END);
  RETURN null;
END $$;
--> statement-breakpoint

-- Rows without a label ----------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION attune.rule_revise() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.updated := greatest(clock_timestamp(), old.updated + interval '1 millisecond');
  IF (to_jsonb(new) - '{updated,revision,label,description}'::text[])
    IS DISTINCT FROM (to_jsonb(old) - '{updated,revision,label,description}'::text[]) THEN
    new.revision := old.revision + 1;
  END IF;
  RETURN new;
END $$;
--> statement-breakpoint
CREATE OR REPLACE TRIGGER action_invalidate AFTER UPDATE ON attune.action FOR EACH ROW
  WHEN (to_jsonb(old) - '{updated,label,description}'::text[]
    IS DISTINCT FROM to_jsonb(new) - '{updated,label,description}'::text[])
  EXECUTE FUNCTION attune.action_invalidate();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER pack_touch BEFORE UPDATE ON attune.pack FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER key_touch BEFORE UPDATE ON attune.key FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER trigger_touch BEFORE UPDATE ON attune.trigger FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER action_touch BEFORE UPDATE ON attune.action FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER enforcement_touch BEFORE UPDATE ON attune.enforcement FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER worker_touch BEFORE UPDATE ON attune.worker FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER sensor_touch BEFORE UPDATE ON attune.sensor FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER inquiry_touch BEFORE UPDATE ON attune.inquiry FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER policy_touch BEFORE UPDATE ON attune.policy FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER workflow_definition_touch BEFORE UPDATE ON attune.workflow_definition FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER artifact_touch BEFORE UPDATE ON attune.artifact FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER execution_touch BEFORE UPDATE ON attune.execution FOR EACH ROW
  WHEN (NOT attune.is_terminal(old.status)) EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
DROP TRIGGER token_relabel ON attune.token;
--> statement-breakpoint
DROP TRIGGER event_relabel ON attune.event;
--> statement-breakpoint
DROP FUNCTION attune.relabel();
--> statement-breakpoint
DROP FUNCTION attune.touch_changed();
--> statement-breakpoint
-- The view would keep the label's column.
DROP VIEW attune.healthy_worker;
--> statement-breakpoint
CREATE VIEW attune.healthy_worker AS
  SELECT id, created, updated, name, worker_type, runtime, host, port, status, capabilities, meta, last_heartbeat, cordoned
  FROM attune.worker WHERE status IN ('active', 'busy') AND last_heartbeat > now() - interval '30 seconds';
