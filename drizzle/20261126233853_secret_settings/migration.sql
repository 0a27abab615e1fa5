ALTER TABLE "attune"."pack" ADD COLUMN "secrets" jsonb DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "attune"."sensor" ADD COLUMN "secrets" jsonb DEFAULT '{}' NOT NULL;