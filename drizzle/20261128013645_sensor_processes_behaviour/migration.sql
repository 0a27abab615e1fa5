-- A sensor changes with its process: the notification log has an entry of the sensor for each change but a renewal of the lease and an event.
CREATE TRIGGER sensor_process_touch BEFORE UPDATE ON attune.sensor_process FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE FUNCTION attune.sensor_process_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'sensor', 'sensor', s.id, 'updated', jsonb_build_object('ref', s.ref, 'enabled', s.enabled), s.pack_ref
    FROM sensor s WHERE s.id = new.sensor;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER sensor_process_notify AFTER UPDATE ON attune.sensor_process FOR EACH ROW
  WHEN ((old.status, old.pid, old.last_error, old.last_error_at, old.next_start_at)
    IS DISTINCT FROM (new.status, new.pid, new.last_error, new.last_error_at, new.next_start_at))
  EXECUTE FUNCTION attune.sensor_process_notify();
