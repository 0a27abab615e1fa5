DROP INDEX "attune"."execution_retry_of_idx";--> statement-breakpoint
CREATE INDEX "execution_retry_of_idx" ON "attune"."execution" ("retry_of","created","id") WHERE "retry_of" is not null;--> statement-breakpoint
DROP INDEX "attune"."execution_rerun_of_idx";--> statement-breakpoint
CREATE INDEX "execution_rerun_of_idx" ON "attune"."execution" ("rerun_of","created","id") WHERE "rerun_of" is not null;