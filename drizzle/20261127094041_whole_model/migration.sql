ALTER TABLE "attune"."event" ADD COLUMN "updated" timestamp(3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "attune"."permission_set" ADD COLUMN "is_adhoc" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "attune"."notification" DROP COLUMN "state";--> statement-breakpoint
ALTER TABLE "attune"."event" ALTER COLUMN "trace_tag" SET DEFAULT gen_random_uuid();--> statement-breakpoint
ALTER TABLE "attune"."execution" ALTER COLUMN "on_worker_loss" SET DEFAULT 'abandon';--> statement-breakpoint
ALTER TABLE "attune"."execution" ALTER COLUMN "trace_tag" SET DEFAULT gen_random_uuid();--> statement-breakpoint
UPDATE "attune"."runtime" SET "runtime_type" = split_part("ref", '.', 2)::"attune"."runtime_type" WHERE split_part("ref", '.', 2) <> "runtime_type"::text;--> statement-breakpoint
ALTER TABLE "attune"."runtime" ADD CONSTRAINT "runtime_runtime_type_check" CHECK (split_part("ref", '.', 2) = "runtime_type"::text);--> statement-breakpoint
DROP TYPE "attune"."notification_state";