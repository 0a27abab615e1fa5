-- What belongs to a pack goes with it, and the notification log has every change of every entity.

-- Events ------------------------------------------------------------------------------------------------------------------

-- Only a correction changes an event: its evaluation, and the deletion of a row that it refers to, leave its version.
CREATE TRIGGER event_touch BEFORE UPDATE OF created, updated, trigger_ref, config, payload, source_ref, trace_tag, generation
  ON attune.event
  FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE FUNCTION attune.event_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  e constant event := CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    VALUES ('event', 'event', e.id, CASE tg_op WHEN 'DELETE' THEN 'deleted' ELSE 'updated' END,
      jsonb_build_object('triggerRef', e.trigger_ref, 'traceTag', e.trace_tag, 'sourceRef', e.source_ref),
      split_part(e.trigger_ref, '.', 1));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER event_updated AFTER UPDATE OF payload, config ON attune.event
  FOR EACH ROW EXECUTE FUNCTION attune.event_changed();
--> statement-breakpoint
CREATE TRIGGER event_deleted AFTER DELETE ON attune.event FOR EACH ROW EXECUTE FUNCTION attune.event_changed();
--> statement-breakpoint

-- Deletions of what runs --------------------------------------------------------------------------------------------------

CREATE FUNCTION attune.execution_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'execution', 'execution', e.id, 'deleted', execution_content(e, e.status, e.status, null),
      split_part(e.action_ref, '.', 1)
    FROM removed e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER execution_deleted AFTER DELETE ON attune.execution REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION attune.execution_deleted();
--> statement-breakpoint
CREATE FUNCTION attune.enforcement_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'enforcement', 'enforcement', e.id, 'deleted',
      jsonb_build_object('ruleRef', e.rule_ref, 'triggerRef', e.trigger_ref, 'status', e.status, 'event', e.event::text),
      split_part(e.rule_ref, '.', 1)
    FROM removed e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER enforcement_deleted AFTER DELETE ON attune.enforcement REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION attune.enforcement_deleted();
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.worker_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  w constant worker := CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content)
    VALUES ('worker', 'worker', w.id, CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'status' ELSE 'deleted' END,
      jsonb_build_object('name', w.name, 'status', w.status, 'cordoned', w.cordoned));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER worker_deleted AFTER DELETE ON attune.worker FOR EACH ROW EXECUTE FUNCTION attune.worker_notify();
--> statement-breakpoint
-- An inquiry that goes with its execution names it by its id only: the execution's row is gone by then.
CREATE OR REPLACE FUNCTION attune.inquiry_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  i constant inquiry := CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
  asker execution;
BEGIN
  SELECT * INTO asker FROM execution WHERE id = i.execution;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    VALUES ('inquiry', 'inquiry', i.id, CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'status' ELSE 'deleted' END,
      jsonb_build_object('fromStatus', CASE WHEN tg_op <> 'INSERT' THEN old.status END, 'toStatus', i.status,
        'execution', i.execution::text, 'actionRef', asker.action_ref, 'executor', asker.executor::text,
        'assignedTo', i.assigned_to::text, 'assignedRole', i.assigned_role, 'timeoutAt', i.timeout_at,
        'createdAt', i.created),
      split_part(asker.action_ref, '.', 1));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER inquiry_deleted AFTER DELETE ON attune.inquiry FOR EACH ROW EXECUTE FUNCTION attune.inquiry_notify();
--> statement-breakpoint

-- The rest of the catalog, and who may do what ----------------------------------------------------------------------------

-- A policy counts to the pack that it limits, an identity is named by its login.
CREATE OR REPLACE FUNCTION attune.catalog_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entity_row constant jsonb := to_jsonb(CASE tg_op WHEN 'DELETE' THEN old ELSE new END);
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    VALUES (tg_table_name, tg_table_name, (entity_row ->> 'id')::bigint,
      CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END,
      jsonb_strip_nulls(jsonb_build_object('ref', coalesce(entity_row ->> 'ref', entity_row ->> 'login'),
        'enabled', entity_row -> 'enabled', 'kind', entity_row ->> 'kind')),
      CASE tg_table_name WHEN 'pack' THEN entity_row ->> 'ref'
        WHEN 'policy' THEN coalesce((SELECT pack_ref FROM action WHERE id = (entity_row ->> 'action')::bigint),
          (SELECT ref FROM pack WHERE id = (entity_row ->> 'pack')::bigint))
        ELSE entity_row ->> 'pack_ref' END);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER action_notify AFTER INSERT OR UPDATE OR DELETE ON attune.action
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER trigger_notify AFTER INSERT OR UPDATE OR DELETE ON attune.trigger
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER sensor_notify AFTER INSERT OR UPDATE OR DELETE ON attune.sensor
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER policy_notify AFTER INSERT OR UPDATE OR DELETE ON attune.policy
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER runtime_notify AFTER INSERT OR UPDATE OR DELETE ON attune.runtime
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER workflow_definition_notify AFTER INSERT OR UPDATE OR DELETE ON attune.workflow_definition
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER permission_set_notify AFTER INSERT OR UPDATE OR DELETE ON attune.permission_set
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER identity_notify AFTER INSERT OR UPDATE OR DELETE ON attune.identity
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
-- A role or a permission set that an identity gets or loses changes the identity, and one that a role has changes the set.
CREATE FUNCTION attune.membership_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entity_row constant jsonb := to_jsonb(CASE tg_op WHEN 'DELETE' THEN old ELSE new END);
BEGIN
  IF tg_table_name = 'permission_set_role' THEN
    INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
      SELECT 'permission_set', 'permission_set', s.id, 'updated', jsonb_build_object('ref', s.ref), s.pack_ref
      FROM permission_set s WHERE s.id = (entity_row ->> 'permission_set')::bigint;
  ELSE
    INSERT INTO notification (channel, entity_type, entity, activity, content)
      SELECT 'identity', 'identity', i.id, 'updated', jsonb_build_object('ref', i.login)
      FROM identity i WHERE i.id = (entity_row ->> 'identity')::bigint;
  END IF;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER identity_role_notify AFTER INSERT OR UPDATE OR DELETE ON attune.identity_role
  FOR EACH ROW EXECUTE FUNCTION attune.membership_notify();
--> statement-breakpoint
CREATE TRIGGER permission_assignment_notify AFTER INSERT OR UPDATE OR DELETE ON attune.permission_assignment
  FOR EACH ROW EXECUTE FUNCTION attune.membership_notify();
--> statement-breakpoint
CREATE TRIGGER permission_set_role_notify AFTER INSERT OR UPDATE OR DELETE ON attune.permission_set_role
  FOR EACH ROW EXECUTE FUNCTION attune.membership_notify();
--> statement-breakpoint

-- What belongs to a pack --------------------------------------------------------------------------------------------------

-- Until now a set without a pack was one that a user had created.
UPDATE attune.permission_set s SET is_adhoc = true, pack = (SELECT p.id FROM attune.pack p WHERE p.ref = s.pack_ref)
  WHERE s.pack IS NULL;
--> statement-breakpoint
CREATE FUNCTION attune.pack_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  DELETE FROM policy WHERE split_part(ref, '.', 1) = old.ref;
  DELETE FROM artifact WHERE (scope = 'pack' AND owner = old.ref)
    OR (scope IN ('action', 'sensor') AND split_part(owner, '.', 1) = old.ref);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_deleted AFTER DELETE ON attune.pack FOR EACH ROW EXECUTE FUNCTION attune.pack_deleted();
