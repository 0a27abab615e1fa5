-- The statuses of executions that have begun and not ended, for constraints; `inProgress` of the code.
CREATE FUNCTION attune.is_in_progress(status attune.execution_status) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN status IN ('running', 'canceling');
--> statement-breakpoint
-- So far an execution that waited for an answer was known by what it lacked.
UPDATE attune.execution e SET waits_for = 'inquiry'
  WHERE e.status = 'running' AND e.worker IS NULL AND e.worker_name IS NULL
    AND EXISTS (SELECT FROM attune.inquiry i WHERE i.execution = e.id AND i.status = 'pending');
--> statement-breakpoint
-- Any other execution in progress without a worker is lost: its worker's row was deleted by hand. The next sweep would have moved it so.
WITH lost AS (
  SELECT e.id,
    CASE WHEN e.status = 'canceling' THEN 'cancelled'
      WHEN e.on_worker_loss = 'requeue' AND e.attempt < 5 AND a.runtime IS NOT NULL THEN 'scheduled'
      ELSE 'abandoned' END::attune.execution_status AS becomes
  FROM attune.execution e LEFT JOIN attune.action a ON a.id = e.action
  WHERE attune.is_in_progress(e.status) AND e.worker IS NULL AND e.waits_for IS NULL
)
UPDATE attune.execution e SET status = l.becomes, reason = 'the worker was lost',
  finished_at = CASE WHEN l.becomes <> 'scheduled' THEN clock_timestamp() END,
  scheduled_at = CASE WHEN l.becomes = 'scheduled' THEN now() ELSE e.scheduled_at END,
  deadline = CASE WHEN l.becomes <> 'scheduled' THEN e.deadline END,
  error = CASE WHEN l.becomes = 'abandoned' THEN jsonb_build_object('code', 'WORKER_LOST', 'message', 'the worker was lost') END
FROM lost l WHERE e.id = l.id;
