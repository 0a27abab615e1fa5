-- A pack's environments change with the pack: the notification log has an entry of the pack for each change of status and each piece of the log.
CREATE TRIGGER pack_environment_touch BEFORE UPDATE ON attune.pack_environment FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE FUNCTION attune.pack_environment_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'pack', 'pack', p.id, 'updated', jsonb_build_object('ref', p.ref), p.ref FROM pack p WHERE p.id = new.pack;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_environment_insert_notify AFTER INSERT ON attune.pack_environment
  FOR EACH ROW EXECUTE FUNCTION attune.pack_environment_notify();
--> statement-breakpoint
CREATE TRIGGER pack_environment_update_notify AFTER UPDATE ON attune.pack_environment FOR EACH ROW
  WHEN ((old.status, old.path, old.install_log, old.install_error) IS DISTINCT FROM (new.status, new.path, new.install_log, new.install_error))
  EXECUTE FUNCTION attune.pack_environment_notify();
