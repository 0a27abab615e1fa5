ALTER TABLE "attune"."execution" ADD COLUMN "waits_for" text;--> statement-breakpoint
CREATE INDEX "execution_waits_for_idx" ON "attune"."execution" ("waits_for","deadline") WHERE "waits_for" is not null;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_waits_for_check" CHECK ("waits_for" in ('inquiry', 'tasks', 'slot', 'time', 'retry'));