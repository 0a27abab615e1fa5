ALTER TABLE "attune"."rule" ADD COLUMN "backstop" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD COLUMN "active_hours" jsonb;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD COLUMN "execution_priority" integer DEFAULT 0 NOT NULL;