CREATE TABLE "attune"."pack_test_execution" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."pack_test_execution_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"pack_id" bigint NOT NULL,
	"pack_version" varchar(50) NOT NULL,
	"execution_time" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"trigger_reason" varchar(50) NOT NULL,
	"total_tests" integer NOT NULL,
	"passed" integer NOT NULL,
	"failed" integer NOT NULL,
	"skipped" integer NOT NULL,
	"pass_rate" double precision NOT NULL,
	"duration_ms" bigint NOT NULL,
	"result" jsonb NOT NULL,
	CONSTRAINT "pack_test_execution_total_tests_check" CHECK ("total_tests" >= 0),
	CONSTRAINT "pack_test_execution_passed_check" CHECK ("passed" >= 0),
	CONSTRAINT "pack_test_execution_failed_check" CHECK ("failed" >= 0),
	CONSTRAINT "pack_test_execution_skipped_check" CHECK ("skipped" >= 0),
	CONSTRAINT "pack_test_execution_duration_ms_check" CHECK ("duration_ms" >= 0),
	CONSTRAINT "pack_test_execution_pass_rate_check" CHECK ("pass_rate" between 0 and 1),
	CONSTRAINT "pack_test_execution_trigger_reason_check" CHECK ("trigger_reason" in ('install', 'update', 'manual', 'validation'))
);
--> statement-breakpoint
CREATE INDEX "idx_pack_test_execution_pack_id" ON "attune"."pack_test_execution" ("pack_id");--> statement-breakpoint
CREATE INDEX "idx_pack_test_execution_time" ON "attune"."pack_test_execution" ("execution_time" DESC);--> statement-breakpoint
CREATE INDEX "idx_pack_test_execution_pass_rate" ON "attune"."pack_test_execution" ("pass_rate");--> statement-breakpoint
CREATE INDEX "idx_pack_test_execution_trigger" ON "attune"."pack_test_execution" ("trigger_reason");--> statement-breakpoint
CREATE INDEX "idx_pack_test_execution_created" ON "attune"."pack_test_execution" ("created");--> statement-breakpoint
ALTER TABLE "attune"."pack_test_execution" ADD CONSTRAINT "pack_test_execution_pack_id_pack_id_fkey" FOREIGN KEY ("pack_id") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;