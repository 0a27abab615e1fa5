-- A new event waits to be evaluated, whatever inserts it.
CREATE OR REPLACE FUNCTION attune.event_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO pending_event (event) SELECT e.id FROM inserted e WHERE e.evaluated_at IS NULL ORDER BY e.id;
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'event', 'event', e.id, 'created',
      jsonb_build_object('triggerRef', e.trigger_ref, 'traceTag', e.trace_tag, 'sourceRef', e.source_ref),
      split_part(e.trigger_ref, '.', 1)
    FROM inserted e ORDER BY e.id;
  RETURN null;
END $$;
--> statement-breakpoint
-- Each event is updated once, when it has been evaluated. With room for that in its page, it keeps its entries in all indexes.
ALTER TABLE attune.event SET (fillfactor = 50);
--> statement-breakpoint
-- The queue of events before.
DO $$ BEGIN
  IF to_regclass('attune_jobs.queue') IS NOT NULL THEN
    DELETE FROM attune_jobs.job WHERE name = 'event';
    DELETE FROM attune_jobs.queue WHERE name = 'event';
  END IF;
END $$;
