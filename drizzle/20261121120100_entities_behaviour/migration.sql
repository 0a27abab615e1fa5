-- Versions, labels and notifications of the entities; who may touch them; the audit trail.

CREATE TRIGGER sensor_touch BEFORE UPDATE ON attune.sensor FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER inquiry_touch BEFORE UPDATE ON attune.inquiry FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER policy_touch BEFORE UPDATE ON attune.policy FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER workflow_definition_touch BEFORE UPDATE ON attune.workflow_definition
  FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint
CREATE TRIGGER artifact_touch BEFORE UPDATE ON attune.artifact FOR EACH ROW EXECUTE FUNCTION attune.touch_changed();
--> statement-breakpoint

CREATE OR REPLACE FUNCTION attune.key_owner() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.owner := CASE new.owner_type
    WHEN 'system' THEN 'system'
    WHEN 'identity' THEN (SELECT login FROM identity WHERE id = new.owner_identity)
    WHEN 'pack' THEN (SELECT ref FROM pack WHERE id = new.owner_pack)
    WHEN 'action' THEN (SELECT ref FROM action WHERE id = new.owner_action)
    WHEN 'sensor' THEN (SELECT ref FROM sensor WHERE id = new.owner_sensor)
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

-- What the notification log tells of them.
CREATE TRIGGER artifact_notify AFTER INSERT OR UPDATE OR DELETE ON attune.artifact
  FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE FUNCTION attune.inquiry_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  asker execution;
BEGIN
  SELECT * INTO asker FROM execution WHERE id = new.execution;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref, xid)
    VALUES ('inquiry', 'inquiry', new.id, CASE tg_op WHEN 'INSERT' THEN 'created' ELSE 'status' END,
      jsonb_build_object('fromStatus', CASE tg_op WHEN 'UPDATE' THEN old.status END, 'toStatus', new.status,
        'execution', new.execution::text, 'actionRef', asker.action_ref, 'executor', asker.executor::text,
        'assignedTo', new.assigned_to::text, 'assignedRole', new.assigned_role, 'timeoutAt', new.timeout_at,
        'createdAt', new.created),
      split_part(asker.action_ref, '.', 1), new.changed);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER inquiry_inserted AFTER INSERT ON attune.inquiry FOR EACH ROW EXECUTE FUNCTION attune.inquiry_notify();
--> statement-breakpoint
CREATE TRIGGER inquiry_moved AFTER UPDATE ON attune.inquiry FOR EACH ROW
  WHEN (old.status IS DISTINCT FROM new.status) EXECUTE FUNCTION attune.inquiry_notify();
--> statement-breakpoint

-- Whatever may change what somebody may do is told on one channel: every process then looks its sessions up again.
CREATE FUNCTION attune.access_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  entity_row constant jsonb := to_jsonb(CASE tg_op WHEN 'DELETE' THEN old ELSE new END);
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, xid)
    VALUES ('access', tg_table_name, (entity_row ->> 'id')::bigint,
      CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END, pg_current_xact_id());
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER identity_access AFTER UPDATE ON attune.identity FOR EACH ROW
  WHEN (old.frozen <> new.frozen OR old.login <> new.login OR old.attributes <> new.attributes)
  EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER identity_access_delete AFTER DELETE ON attune.identity FOR EACH ROW EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER identity_role_access AFTER INSERT OR UPDATE OR DELETE ON attune.identity_role
  FOR EACH ROW EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER permission_assignment_access AFTER INSERT OR UPDATE OR DELETE ON attune.permission_assignment
  FOR EACH ROW EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER permission_set_role_access AFTER INSERT OR UPDATE OR DELETE ON attune.permission_set_role
  FOR EACH ROW EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER permission_set_access AFTER UPDATE ON attune.permission_set FOR EACH ROW
  WHEN (old.grants <> new.grants OR old.ref <> new.ref) EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER permission_set_access_delete AFTER DELETE ON attune.permission_set
  FOR EACH ROW EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER token_access AFTER UPDATE ON attune.token FOR EACH ROW
  WHEN (old.revoked_at IS DISTINCT FROM new.revoked_at OR old.expires_at IS DISTINCT FROM new.expires_at
    OR old.permission_set_refs IS DISTINCT FROM new.permission_set_refs)
  EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
CREATE TRIGGER token_access_delete AFTER DELETE ON attune.token FOR EACH ROW EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint

-- The audit trail is append-only: an actor that was deleted is cleared, and retention alone removes.
CREATE FUNCTION attune.audit_guard() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  IF tg_op = 'DELETE' THEN
    IF current_setting('attune.retention', true) IS DISTINCT FROM 'on' THEN
      RAISE EXCEPTION 'the audit trail is append-only: only retention removes from it'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_event_append_only', TABLE = 'audit_event';
    END IF;
    RETURN old;
  END IF;
  IF new.actor IS NOT NULL OR to_jsonb(new) - 'actor' IS DISTINCT FROM to_jsonb(old) - 'actor'
    OR EXISTS (SELECT FROM identity WHERE id = old.actor) THEN
    RAISE EXCEPTION 'the audit trail is append-only: its entries do not change'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_event_append_only', TABLE = 'audit_event';
  END IF;
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER audit_guard BEFORE UPDATE OR DELETE ON attune.audit_event FOR EACH ROW EXECUTE FUNCTION attune.audit_guard();
--> statement-breakpoint
CREATE FUNCTION attune.audit_no_truncate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is append-only'
    USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_event_append_only', TABLE = 'audit_event';
END $$;
--> statement-breakpoint
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON attune.audit_event FOR EACH STATEMENT EXECUTE FUNCTION attune.audit_no_truncate();

--> statement-breakpoint

-- What an attempt at an execution leaves behind ends with it, whoever ended it: its questions, as soon as it is asked to stop,
-- and its tokens.
CREATE FUNCTION attune.execution_over() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM inquiry WHERE execution = new.id AND status = 'pending') THEN
    UPDATE inquiry SET status = 'cancelled' WHERE execution = new.id AND status = 'pending';
  END IF;
  IF new.status <> 'canceling' AND new.permission_set_refs <> '{}' THEN
    UPDATE token SET revoked_at = now() WHERE execution = new.id AND kind = 'execution' AND revoked_at IS NULL;
  END IF;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER execution_over AFTER UPDATE ON attune.execution FOR EACH ROW
  WHEN (old.status <> new.status AND (attune.is_terminal(new.status) OR new.status = 'canceling'
    OR (old.status = 'running' AND new.status = 'scheduled')))
  EXECUTE FUNCTION attune.execution_over();
