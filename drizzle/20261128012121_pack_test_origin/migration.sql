ALTER TABLE "attune"."pack_test_execution" ADD COLUMN "execution" bigint;--> statement-breakpoint
ALTER TABLE "attune"."pack_test_execution" ADD COLUMN "release" bigint;--> statement-breakpoint
CREATE UNIQUE INDEX "pack_test_execution_execution_key" ON "attune"."pack_test_execution" ("execution") WHERE "execution" is not null;--> statement-breakpoint
CREATE INDEX "pack_test_execution_time_idx" ON "attune"."pack_test_execution" ("execution_time","id");--> statement-breakpoint
CREATE INDEX "pack_test_execution_pack_time_idx" ON "attune"."pack_test_execution" ("pack_id","execution_time","id");--> statement-breakpoint
CREATE INDEX "pack_test_execution_release_idx" ON "attune"."pack_test_execution" ("release","id") WHERE "release" is not null;--> statement-breakpoint
ALTER TABLE "attune"."pack_test_execution" ADD CONSTRAINT "pack_test_execution_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."pack_test_execution" ADD CONSTRAINT "pack_test_execution_release_pack_release_id_fkey" FOREIGN KEY ("release") REFERENCES "attune"."pack_release"("id") ON DELETE SET NULL;