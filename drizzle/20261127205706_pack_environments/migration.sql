CREATE TYPE "attune"."pack_environment_status" AS ENUM('pending', 'installing', 'ready', 'failed', 'outdated');--> statement-breakpoint
CREATE TABLE "attune"."pack_environment" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."pack_environment_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"pack" bigint NOT NULL,
	"runtime" bigint NOT NULL,
	"store" text NOT NULL,
	"manifest_checksum" text NOT NULL,
	"interpreter" text NOT NULL,
	"path" text NOT NULL,
	"status" "attune"."pack_environment_status" DEFAULT 'pending'::"attune"."pack_environment_status" NOT NULL,
	"claimed_by" bigint,
	"claim_expires_at" timestamp(3) with time zone,
	"install_log" text,
	"install_error" text,
	CONSTRAINT "pack_environment_contents_key" UNIQUE("pack","runtime","manifest_checksum","interpreter","store"),
	CONSTRAINT "pack_environment_claim_expires_at_check" CHECK (("status" = 'installing') = ("claim_expires_at" is not null))
);
--> statement-breakpoint
ALTER TABLE "attune"."pack_release" ADD COLUMN "environments" jsonb DEFAULT '{}' NOT NULL;--> statement-breakpoint
CREATE INDEX "pack_environment_runtime_idx" ON "attune"."pack_environment" ("runtime");--> statement-breakpoint
CREATE INDEX "pack_environment_claimed_by_idx" ON "attune"."pack_environment" ("claimed_by") WHERE "claimed_by" is not null;--> statement-breakpoint
ALTER TABLE "attune"."pack_environment" ADD CONSTRAINT "pack_environment_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."pack_environment" ADD CONSTRAINT "pack_environment_runtime_runtime_id_fkey" FOREIGN KEY ("runtime") REFERENCES "attune"."runtime"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."pack_environment" ADD CONSTRAINT "pack_environment_claimed_by_worker_id_fkey" FOREIGN KEY ("claimed_by") REFERENCES "attune"."worker"("id") ON DELETE SET NULL;