-- Deletions by age are not entries of the notification log: they would be as many as what they delete, and outlive its use.
DROP TRIGGER event_deleted ON attune.event;
--> statement-breakpoint
CREATE TRIGGER event_deleted AFTER DELETE ON attune.event FOR EACH ROW
  WHEN (current_setting('attune.retention', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION attune.event_changed();
--> statement-breakpoint
DROP TRIGGER execution_deleted ON attune.execution;
--> statement-breakpoint
CREATE TRIGGER execution_deleted AFTER DELETE ON attune.execution REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT WHEN (current_setting('attune.retention', true) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION attune.execution_deleted();
--> statement-breakpoint
DROP TRIGGER enforcement_deleted ON attune.enforcement;
--> statement-breakpoint
CREATE TRIGGER enforcement_deleted AFTER DELETE ON attune.enforcement REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT WHEN (current_setting('attune.retention', true) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION attune.enforcement_deleted();
--> statement-breakpoint
DROP TRIGGER inquiry_deleted ON attune.inquiry;
--> statement-breakpoint
CREATE TRIGGER inquiry_deleted AFTER DELETE ON attune.inquiry FOR EACH ROW
  WHEN (current_setting('attune.retention', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION attune.inquiry_notify();
