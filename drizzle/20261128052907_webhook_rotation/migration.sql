ALTER TABLE "attune"."trigger" ADD COLUMN "webhook_previous_key" text;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD COLUMN "webhook_previous_key_until" timestamp(3) with time zone;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD COLUMN "webhook_previous_secret" text;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD COLUMN "webhook_previous_secret_until" timestamp(3) with time zone;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD COLUMN "webhook_verify_token" text;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD CONSTRAINT "trigger_webhook_previous_key_key" UNIQUE("webhook_previous_key");