ALTER TABLE "attune"."worker" ADD COLUMN "drains_at" timestamp(3) with time zone;--> statement-breakpoint
CREATE INDEX "execution_selector_idx" ON "attune"."execution" ("worker_selector") WHERE "status" = 'scheduled' and "worker_selector" <> '{}';--> statement-breakpoint
ALTER TABLE "attune"."worker" ADD CONSTRAINT "worker_drains_at_check" CHECK ("drains_at" is null or "cordoned");