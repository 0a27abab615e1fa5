-- Every run with its pack, and the newest of each pack.
CREATE VIEW attune.pack_test_summary AS
  SELECT p.id AS pack_id, p.ref AS pack_ref, p.label AS pack_label, t.id AS test_execution_id, t.pack_version, t.execution_time,
    t.trigger_reason, t.total_tests, t.passed, t.failed, t.skipped, t.pass_rate, t.duration_ms,
    t.total_tests > 0 AND t.failed = 0 AS has_passed
  FROM attune.pack_test_execution t JOIN attune.pack p ON p.id = t.pack_id;
--> statement-breakpoint
CREATE VIEW attune.pack_latest_test AS
  SELECT DISTINCT ON (pack_id) * FROM attune.pack_test_summary ORDER BY pack_id, execution_time DESC, test_execution_id DESC;
--> statement-breakpoint
CREATE FUNCTION attune.get_pack_test_stats(pack_id bigint) RETURNS TABLE (
  total_executions bigint, successful_executions bigint, failed_executions bigint, avg_pass_rate double precision,
  avg_duration_ms double precision, last_test_time timestamptz, last_test_passed boolean
) LANGUAGE sql STABLE SET search_path = attune, pg_temp AS $$
  SELECT count(*), count(*) FILTER (WHERE has_passed), count(*) FILTER (WHERE NOT has_passed), avg(pass_rate),
    avg(duration_ms)::double precision, max(execution_time),
    (array_agg(has_passed ORDER BY execution_time DESC, test_execution_id DESC))[1]
  FROM pack_test_summary s WHERE s.pack_id = $1
$$;
--> statement-breakpoint
-- Whether the pack has passed its tests within these hours, however a later run ended.
CREATE FUNCTION attune.pack_has_passing_tests(pack_id bigint, hours_ago integer DEFAULT 24) RETURNS boolean
LANGUAGE sql STABLE SET search_path = attune, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pack_test_summary s
    WHERE s.pack_id = $1 AND s.has_passed AND s.execution_time > now() - make_interval(hours => $2))
$$;
--> statement-breakpoint
-- The pack's row is locked first: of two runs that end at the same time, the second sees the first, and the newest is stamped.
CREATE FUNCTION attune.update_pack_test_metadata() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM FROM pack p WHERE p.id = new.pack_id FOR NO KEY UPDATE;
  UPDATE pack p SET meta = p.meta || jsonb_build_object('last_test',
      jsonb_build_object('id', l.test_execution_id, 'passed', l.has_passed, 'at', l.execution_time))
    FROM pack_latest_test l WHERE l.pack_id = p.id AND p.id = new.pack_id
      AND p.meta #> '{last_test,id}' IS DISTINCT FROM to_jsonb(l.test_execution_id);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_test_execution_stamp AFTER INSERT ON attune.pack_test_execution
  FOR EACH ROW EXECUTE FUNCTION attune.update_pack_test_metadata();
--> statement-breakpoint
-- Only runs write the stamp: files and users replace the other data of a pack.
CREATE FUNCTION attune.pack_keep_last_test() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.meta := (new.meta - 'last_test') || jsonb_strip_nulls(jsonb_build_object('last_test', old.meta -> 'last_test'));
  RETURN new;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_keep_last_test BEFORE UPDATE OF meta ON attune.pack FOR EACH ROW
  WHEN (pg_trigger_depth() = 0 AND old.meta -> 'last_test' IS DISTINCT FROM new.meta -> 'last_test')
  EXECUTE FUNCTION attune.pack_keep_last_test();
