CREATE TABLE "attune"."policy_group" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."policy_group_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"policy" bigint NOT NULL,
	"key" text NOT NULL,
	"active" integer DEFAULT 0 NOT NULL,
	"waiting" integer DEFAULT 0 NOT NULL,
	"next_at" timestamp(3) with time zone,
	CONSTRAINT "policy_group_policy_key_key" UNIQUE("policy","key"),
	CONSTRAINT "policy_group_active_check" CHECK ("active" >= 0),
	CONSTRAINT "policy_group_waiting_check" CHECK ("waiting" >= 0)
);
--> statement-breakpoint
CREATE TABLE "attune"."policy_slot" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."policy_slot_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"policy_group" bigint NOT NULL,
	"execution" bigint NOT NULL UNIQUE,
	"state" text NOT NULL,
	"priority" integer DEFAULT 0 NOT NULL,
	"acquired_at" timestamp(3) with time zone,
	CONSTRAINT "policy_slot_state_check" CHECK ("state" in ('active', 'waiting', 'released')),
	CONSTRAINT "policy_slot_acquired_at_check" CHECK (("state" = 'waiting') = ("acquired_at" is null))
);
--> statement-breakpoint
CREATE INDEX "execution_run_at_idx" ON "attune"."execution" ("run_at") WHERE "status" = 'requested' and "run_at" is not null;--> statement-breakpoint
CREATE INDEX "policy_group_next_at_idx" ON "attune"."policy_group" ("next_at") WHERE "next_at" is not null;--> statement-breakpoint
CREATE INDEX "policy_group_waiting_idx" ON "attune"."policy_group" ("policy") WHERE "waiting" > 0;--> statement-breakpoint
CREATE INDEX "policy_slot_group_idx" ON "attune"."policy_slot" ("policy_group","id");--> statement-breakpoint
CREATE INDEX "policy_slot_waiting_idx" ON "attune"."policy_slot" ("policy_group","priority" DESC,"id") WHERE "state" = 'waiting';--> statement-breakpoint
CREATE INDEX "policy_slot_acquired_at_idx" ON "attune"."policy_slot" ("policy_group","acquired_at") WHERE "acquired_at" is not null;--> statement-breakpoint
CREATE INDEX "policy_slot_released_idx" ON "attune"."policy_slot" ("acquired_at") WHERE "state" = 'released';--> statement-breakpoint
ALTER TABLE "attune"."policy_group" ADD CONSTRAINT "policy_group_policy_policy_id_fkey" FOREIGN KEY ("policy") REFERENCES "attune"."policy"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."policy_slot" ADD CONSTRAINT "policy_slot_policy_group_policy_group_id_fkey" FOREIGN KEY ("policy_group") REFERENCES "attune"."policy_group"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."policy_slot" ADD CONSTRAINT "policy_slot_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE CASCADE;