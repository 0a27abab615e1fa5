CREATE TABLE "attune"."rule_change" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."rule_change_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"rule" bigint NOT NULL UNIQUE,
	"trigger" bigint NOT NULL,
	"revision" bigint NOT NULL
);
--> statement-breakpoint
CREATE INDEX "rule_change_trigger_idx" ON "attune"."rule_change" ("trigger","revision");--> statement-breakpoint
ALTER TABLE "attune"."rule_change" ADD CONSTRAINT "rule_change_trigger_trigger_id_fkey" FOREIGN KEY ("trigger") REFERENCES "attune"."trigger"("id") ON DELETE CASCADE;