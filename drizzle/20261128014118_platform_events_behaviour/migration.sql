-- Whether an enabled rule wants to know of that.
CREATE FUNCTION attune.is_wanted(what text) RETURNS boolean LANGUAGE sql STABLE SET search_path = attune, pg_temp
  AS $$ SELECT EXISTS (SELECT FROM trigger t JOIN rule r ON r.trigger = t.id WHERE t.ref = what AND t.enabled AND r.enabled) $$;
--> statement-breakpoint
-- Tells of something that happened to the platform, if an enabled rule wants to know it.
CREATE FUNCTION attune.tell(what text, payload jsonb, cause bigint DEFAULT NULL, generation integer DEFAULT 0, trace_tag text DEFAULT NULL)
RETURNS void LANGUAGE sql SET search_path = attune, pg_temp AS $$
  INSERT INTO platform_event (trigger_ref, payload, cause_execution, generation, trace_tag)
    SELECT what, jsonb_strip_nulls(payload), cause, generation, trace_tag WHERE is_wanted(what)
$$;
--> statement-breakpoint
CREATE FUNCTION attune.global_id(type text, id bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN encode(convert_to(type || ':' || id, 'UTF8'), 'base64');
--> statement-breakpoint
-- What such a rule starts, and whatever that starts, is not told of: it would go on for ever.
CREATE FUNCTION attune.execution_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM trigger t JOIN rule r ON r.trigger = t.id WHERE t.ref = 'core.execution_ended' AND t.enabled AND r.enabled)
    OR EXISTS (SELECT FROM execution e WHERE e.id IN (new.id, new.root) AND e.trigger_ref = 'core.execution_ended') THEN
    RETURN null;
  END IF;
  PERFORM tell('core.execution_ended', jsonb_build_object('execution', global_id('Execution', new.id), 'action', new.action_ref,
      'status', new.status, 'rule', new.rule_ref, 'trigger', new.trigger_ref, 'parent', global_id('Execution', new.parent),
      'attempt', new.attempt), new.id, new.generation + 1, new.trace_tag);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER execution_tell AFTER UPDATE ON attune.execution FOR EACH ROW
  WHEN (old.status <> new.status AND attune.is_terminal(new.status)) EXECUTE FUNCTION attune.execution_tell();
--> statement-breakpoint
CREATE TRIGGER execution_tell_insert AFTER INSERT ON attune.execution FOR EACH ROW
  WHEN (attune.is_terminal(new.status)) EXECUTE FUNCTION attune.execution_tell();
--> statement-breakpoint
CREATE FUNCTION attune.inquiry_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  asker execution;
BEGIN
  SELECT * INTO asker FROM execution WHERE id = new.execution;
  PERFORM tell('core.inquiry_opened', jsonb_build_object('inquiry', global_id('Inquiry', new.id),
      'execution', global_id('Execution', new.execution), 'action', asker.action_ref, 'role', new.assigned_role,
      'assignee', (SELECT login FROM identity WHERE id = new.assigned_to), 'timeout_at', new.timeout_at),
    new.execution, coalesce(asker.generation + 1, 0), asker.trace_tag);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER inquiry_tell AFTER INSERT ON attune.inquiry FOR EACH ROW
  WHEN (new.status = 'pending') EXECUTE FUNCTION attune.inquiry_tell();
--> statement-breakpoint
CREATE FUNCTION attune.pack_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM tell('core.pack_loaded', jsonb_build_object('pack', new.ref, 'version', new.version,
    'previous_version', CASE WHEN old.active_release IS NOT NULL THEN old.version END));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_tell AFTER UPDATE OF active_release ON attune.pack FOR EACH ROW
  WHEN (new.active_release IS NOT NULL AND old.active_release IS DISTINCT FROM new.active_release) EXECUTE FUNCTION attune.pack_tell();
--> statement-breakpoint
CREATE FUNCTION attune.worker_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM tell('core.worker_lost', jsonb_build_object('worker', new.name, 'host', new.host, 'last_heartbeat', new.last_heartbeat));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER worker_tell AFTER UPDATE OF status ON attune.worker FOR EACH ROW
  WHEN (new.status = 'error' AND old.status IS DISTINCT FROM 'error') EXECUTE FUNCTION attune.worker_tell();
--> statement-breakpoint
CREATE FUNCTION attune.key_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  changed constant key := CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
BEGIN
  PERFORM tell('core.key_changed', jsonb_build_object('key', changed.ref,
    'change', CASE tg_op WHEN 'INSERT' THEN 'created' WHEN 'DELETE' THEN 'deleted' ELSE 'updated' END));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER key_tell AFTER INSERT OR DELETE ON attune.key FOR EACH ROW EXECUTE FUNCTION attune.key_tell();
--> statement-breakpoint
-- Encrypting a value anew does not change it.
CREATE TRIGGER key_tell_update AFTER UPDATE OF value, ref ON attune.key FOR EACH ROW
  WHEN ((old.value, old.ref) IS DISTINCT FROM (new.value, new.ref) AND current_setting('attune.rotating', true) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION attune.key_tell();
--> statement-breakpoint
CREATE FUNCTION attune.sensor_process_tell() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM tell('core.sensor_crashed', jsonb_build_object('sensor', s.ref, 'error', new.last_error, 'failures', new.failures,
    'next_start_at', new.next_start_at)) FROM sensor s WHERE s.id = new.sensor;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER sensor_process_tell AFTER UPDATE OF status ON attune.sensor_process FOR EACH ROW
  WHEN (old.status <> 'waiting' AND new.status = 'waiting') EXECUTE FUNCTION attune.sensor_process_tell();
