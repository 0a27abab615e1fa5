-- A run that has ended is an entry of its pack in the notification log, after those of its runners: `test` has the counts.
CREATE FUNCTION attune.pack_test_execution_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'pack', 'pack', p.id, 'status', jsonb_build_object('ref', p.ref, 'test', jsonb_build_object(
        'execution', new.execution::text, 'run', new.id::text, 'runner', null,
        'status', CASE WHEN coalesce(new.result -> 'succeeded', to_jsonb(new.total_tests > 0 AND new.failed = 0)) = 'true'
          THEN 'passed' ELSE 'failed' END,
        'total', new.total_tests, 'passed', new.passed, 'failed', new.failed, 'skipped', new.skipped, 'durationMs', new.duration_ms)), p.ref
      FROM pack p WHERE p.id = new.pack_id;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER pack_test_execution_notify AFTER INSERT ON attune.pack_test_execution
  FOR EACH ROW EXECUTE FUNCTION attune.pack_test_execution_notify();
