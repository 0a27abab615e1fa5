-- A ref that comes back, by whatever road, binds what names it: the rows below keep the ref when its row is deleted.

CREATE FUNCTION attune.action_bind() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE rule SET action = new.id WHERE action_ref = new.ref AND action IS NULL;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER action_bind AFTER INSERT ON attune.action FOR EACH ROW EXECUTE FUNCTION attune.action_bind();
--> statement-breakpoint
CREATE FUNCTION attune.trigger_bind() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE rule SET trigger = new.id WHERE trigger_ref = new.ref AND trigger IS NULL;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER trigger_bind AFTER INSERT ON attune.trigger FOR EACH ROW EXECUTE FUNCTION attune.trigger_bind();
--> statement-breakpoint
CREATE FUNCTION attune.sensor_bind() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  UPDATE trigger SET sensor = new.id WHERE sensor_ref = new.ref AND sensor IS NULL;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER sensor_bind AFTER INSERT ON attune.sensor FOR EACH ROW EXECUTE FUNCTION attune.sensor_bind();
--> statement-breakpoint

-- Those that are unbound so far.
UPDATE attune.rule r SET action = a.id FROM attune.action a WHERE a.ref = r.action_ref AND r.action IS NULL;
--> statement-breakpoint
UPDATE attune.rule r SET trigger = t.id FROM attune.trigger t WHERE t.ref = r.trigger_ref AND r.trigger IS NULL;
--> statement-breakpoint
UPDATE attune.trigger t SET sensor = s.id FROM attune.sensor s WHERE s.ref = t.sensor_ref AND t.sensor IS NULL;
