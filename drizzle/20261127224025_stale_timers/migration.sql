-- A tick that became due while its trigger was disabled must not happen after the trigger is enabled again, also when no process ran the
-- timers meanwhile: its schedule is marked, and what runs the timers goes on to the next tick.
CREATE FUNCTION attune.trigger_enabled() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE timer SET kind = 'stale:' || kind
    WHERE rule IN (SELECT id FROM rule WHERE trigger = new.id) AND next_fire_at <= now() AND kind NOT LIKE 'stale:%';
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER trigger_enabled AFTER UPDATE OF enabled ON attune.trigger
  FOR EACH ROW WHEN (new.enabled AND NOT old.enabled) EXECUTE FUNCTION attune.trigger_enabled();
