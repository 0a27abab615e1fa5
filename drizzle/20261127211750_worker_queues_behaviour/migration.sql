-- The queue of executions: one for each runtime, and one for each selector of a runtime. Null without a runtime.
CREATE FUNCTION attune.execution_queue(runtime_ref text, selector jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE
  BEGIN ATOMIC
    SELECT 'execution/' || runtime_ref || CASE WHEN selector = '{}' THEN '' ELSE '/' || md5(selector::text) END;
  END;
