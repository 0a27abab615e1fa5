CREATE TABLE "attune"."notification_retention" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."notification_retention_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"singleton" integer DEFAULT 1 NOT NULL UNIQUE,
	"pruned_id" bigint NOT NULL,
	CONSTRAINT "notification_retention_singleton_check" CHECK ("singleton" = 1)
);
--> statement-breakpoint
DROP TABLE "attune"."notification_epoch";--> statement-breakpoint
DROP INDEX "attune"."notification_xid_idx";--> statement-breakpoint
ALTER TABLE "attune"."action" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."artifact" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."enforcement" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."event" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."execution" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."inquiry" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."key" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."notification" DROP COLUMN "xid";--> statement-breakpoint
ALTER TABLE "attune"."pack" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."policy" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."rule" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."sensor" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."token" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."trigger" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."worker" DROP COLUMN "changed";--> statement-breakpoint
ALTER TABLE "attune"."workflow_definition" DROP COLUMN "changed";