CREATE TABLE "attune"."rule_revision" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."rule_revision_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"rule" bigint NOT NULL,
	"number" integer NOT NULL,
	"definition" jsonb NOT NULL,
	"owner" bigint
);
--> statement-breakpoint
ALTER TABLE "attune"."enforcement" ADD COLUMN "rule_revision" integer;--> statement-breakpoint
CREATE UNIQUE INDEX "rule_revision_rule_number_key" ON "attune"."rule_revision" ("rule","number");--> statement-breakpoint
CREATE INDEX "rule_revision_rule_idx" ON "attune"."rule_revision" ("rule","id");--> statement-breakpoint
CREATE INDEX "rule_revision_owner_idx" ON "attune"."rule_revision" ("owner") WHERE "owner" is not null;--> statement-breakpoint
ALTER TABLE "attune"."rule_revision" ADD CONSTRAINT "rule_revision_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."rule_revision" ADD CONSTRAINT "rule_revision_owner_identity_id_fkey" FOREIGN KEY ("owner") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;