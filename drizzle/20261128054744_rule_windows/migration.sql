CREATE TABLE "attune"."rule_budget" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."rule_budget_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"rule" bigint NOT NULL UNIQUE,
	"period_from" timestamp(3) with time zone NOT NULL,
	"starts" integer NOT NULL,
	"tripped_at" timestamp(3) with time zone,
	"resets_at" timestamp(3) with time zone,
	CONSTRAINT "rule_budget_starts_check" CHECK ("starts" >= 0),
	CONSTRAINT "rule_budget_tripped_at_check" CHECK (("tripped_at" is null) = ("resets_at" is null))
);
--> statement-breakpoint
CREATE TABLE "attune"."rule_window" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."rule_window_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"rule" bigint NOT NULL,
	"key" text,
	"key_hash" text NOT NULL,
	"kind" text NOT NULL,
	"count" integer NOT NULL,
	"state" jsonb NOT NULL,
	"due_at" timestamp(3) with time zone,
	"expires_at" timestamp(3) with time zone,
	"event" bigint,
	CONSTRAINT "rule_window_kind_check" CHECK ("kind" in ('throttle', 'debounce', 'count', 'absence', 'once')),
	CONSTRAINT "rule_window_count_check" CHECK ("count" >= 0)
);
--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD COLUMN "held" text;--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD COLUMN "pending" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD COLUMN "key" text;--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD COLUMN "key_hash" text;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD COLUMN "window" jsonb;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD COLUMN "max_starts" jsonb;--> statement-breakpoint
CREATE UNIQUE INDEX "rule_evaluation_decided_key" ON "attune"."rule_evaluation" ("rule","event","matched") WHERE "key_hash" is not null;--> statement-breakpoint
CREATE INDEX "rule_evaluation_pending_idx" ON "attune"."rule_evaluation" ("rule","event") WHERE "pending";--> statement-breakpoint
CREATE INDEX "rule_budget_resets_at_idx" ON "attune"."rule_budget" ("resets_at") WHERE "resets_at" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "rule_window_rule_key_hash_key" ON "attune"."rule_window" ("rule","key_hash");--> statement-breakpoint
CREATE INDEX "rule_window_rule_idx" ON "attune"."rule_window" ("rule","updated","id");--> statement-breakpoint
CREATE INDEX "rule_window_key_idx" ON "attune"."rule_window" ("rule","key","updated","id");--> statement-breakpoint
CREATE INDEX "rule_window_due_at_idx" ON "attune"."rule_window" ("due_at") WHERE "due_at" is not null;--> statement-breakpoint
CREATE INDEX "rule_window_expires_at_idx" ON "attune"."rule_window" ("expires_at") WHERE "expires_at" is not null;--> statement-breakpoint
CREATE INDEX "rule_window_event_idx" ON "attune"."rule_window" ("event") WHERE "event" is not null;--> statement-breakpoint
CREATE INDEX "rule_answer_idx" ON "attune"."rule" (coalesce("window" #>> '{absence,of,trigger}', "trigger_ref")) WHERE "window" ? 'absence';--> statement-breakpoint
ALTER TABLE "attune"."rule_budget" ADD CONSTRAINT "rule_budget_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."rule_window" ADD CONSTRAINT "rule_window_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."rule_window" ADD CONSTRAINT "rule_window_event_event_id_fkey" FOREIGN KEY ("event") REFERENCES "attune"."event"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD CONSTRAINT "rule_evaluation_held_check" CHECK ("held" in ('undecided', 'throttle', 'debounce', 'count', 'absence', 'once', 'max_starts', 'keys', 'disabled', 'answer'));--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD CONSTRAINT "rule_evaluation_pending_check" CHECK (not "pending" or ("key_hash" is not null and "held" is not null));