CREATE TYPE "attune"."artifact_retention" AS ENUM('versions', 'days', 'hours', 'minutes');--> statement-breakpoint
CREATE TYPE "attune"."artifact_type" AS ENUM('file_binary', 'file_datatable', 'file_image', 'file_text', 'other', 'progress', 'url');--> statement-breakpoint
CREATE TYPE "attune"."audit_outcome" AS ENUM('success', 'failure', 'denied');--> statement-breakpoint
CREATE TYPE "attune"."inquiry_status" AS ENUM('pending', 'responded', 'timeout', 'cancelled');--> statement-breakpoint
CREATE TYPE "attune"."policy_method" AS ENUM('cancel', 'enqueue');--> statement-breakpoint
CREATE TYPE "attune"."visibility" AS ENUM('public', 'private');--> statement-breakpoint
CREATE TABLE "attune"."artifact" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."artifact_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL,
	"scope" "attune"."owner_type" DEFAULT 'system'::"attune"."owner_type" NOT NULL,
	"owner" text DEFAULT '' NOT NULL,
	"type" "attune"."artifact_type" NOT NULL,
	"visibility" "attune"."visibility" DEFAULT 'private'::"attune"."visibility" NOT NULL,
	"name" text,
	"description" text,
	"content_type" text,
	"size" bigint,
	"data" jsonb,
	"retention" "attune"."artifact_retention" DEFAULT 'versions'::"attune"."artifact_retention" NOT NULL,
	"retention_limit" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "artifact_scope_owner_ref_key" UNIQUE("scope","owner","ref"),
	CONSTRAINT "artifact_retention_limit_check" CHECK ("retention_limit" > 0)
);
--> statement-breakpoint
CREATE TABLE "attune"."artifact_version" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."artifact_version_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"artifact" bigint NOT NULL,
	"version" integer NOT NULL,
	"execution" bigint,
	"content_type" text,
	"size" bigint NOT NULL,
	"sha256" text NOT NULL,
	"content" bytea,
	"storage_key" text,
	CONSTRAINT "artifact_version_artifact_version_key" UNIQUE("artifact","version"),
	CONSTRAINT "artifact_version_version_check" CHECK ("version" > 0),
	CONSTRAINT "artifact_version_size_check" CHECK ("size" >= 0),
	CONSTRAINT "artifact_version_sha256_check" CHECK ("sha256" ~ '^[0-9a-f]{64}$'),
	CONSTRAINT "artifact_version_content_check" CHECK (("content" is null) <> ("storage_key" is null))
);
--> statement-breakpoint
CREATE TABLE "attune"."audit_event" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."audit_event_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"category" text NOT NULL,
	"event_type" text NOT NULL,
	"outcome" "attune"."audit_outcome" NOT NULL,
	"actor" bigint,
	"actor_login" text,
	"actor_kind" text,
	"ip" inet,
	"request_id" text,
	"resource_type" text,
	"resource_ref" text,
	"details" jsonb
);
--> statement-breakpoint
CREATE TABLE "attune"."execution_secret" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."execution_secret_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"execution" bigint NOT NULL,
	"path" text NOT NULL,
	"source" text NOT NULL,
	"encrypted" text NOT NULL,
	CONSTRAINT "execution_secret_execution_path_key" UNIQUE("execution","path")
);
--> statement-breakpoint
CREATE TABLE "attune"."idempotency_key" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."idempotency_key_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"identity" bigint NOT NULL,
	"key" text NOT NULL,
	"operation" text NOT NULL,
	"input_hash" text NOT NULL,
	"entity_type" text NOT NULL,
	"entity" bigint NOT NULL,
	CONSTRAINT "idempotency_key_identity_key_key" UNIQUE("identity","key")
);
--> statement-breakpoint
CREATE TABLE "attune"."inquiry" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."inquiry_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"execution" bigint,
	"prompt" text NOT NULL,
	"response_schema" jsonb,
	"assigned_to" bigint,
	"assigned_role" text,
	"status" "attune"."inquiry_status" DEFAULT 'pending'::"attune"."inquiry_status" NOT NULL,
	"response" jsonb,
	"timeout_at" timestamp(3) with time zone,
	"default_response" jsonb,
	"responded_by" bigint,
	"responded_at" timestamp(3) with time zone,
	CONSTRAINT "inquiry_responded_at_check" CHECK (("status" = 'responded') = ("responded_at" is not null))
);
--> statement-breakpoint
CREATE TABLE "attune"."identity_role" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."identity_role_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"identity" bigint NOT NULL,
	"role" text NOT NULL,
	CONSTRAINT "identity_role_identity_role_key" UNIQUE("identity","role"),
	CONSTRAINT "identity_role_role_check" CHECK ("role" ~ '^[a-z][a-z0-9_-]{0,62}$')
);
--> statement-breakpoint
CREATE TABLE "attune"."permission_set_role" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."permission_set_role_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"permission_set" bigint NOT NULL,
	"role" text NOT NULL,
	CONSTRAINT "permission_set_role_permission_set_role_key" UNIQUE("permission_set","role"),
	CONSTRAINT "permission_set_role_role_check" CHECK ("role" ~ '^[a-z][a-z0-9_-]{0,62}$')
);
--> statement-breakpoint
CREATE TABLE "attune"."policy" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."policy_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint,
	"action" bigint,
	"name" text NOT NULL,
	"description" text,
	"enabled" boolean DEFAULT true NOT NULL,
	"priority" integer DEFAULT 0 NOT NULL,
	"parameters" text[] DEFAULT '{}'::text[] NOT NULL,
	"method" "attune"."policy_method",
	"threshold" integer,
	"rate_max" integer,
	"rate_window_seconds" integer,
	"tags" text[] DEFAULT '{}'::text[] NOT NULL,
	CONSTRAINT "policy_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$'),
	CONSTRAINT "policy_method_check" CHECK (("method" is null) = ("threshold" is null)),
	CONSTRAINT "policy_threshold_check" CHECK ("threshold" > 0),
	CONSTRAINT "policy_rate_check" CHECK (("rate_max" is null) = ("rate_window_seconds" is null)),
	CONSTRAINT "policy_rate_max_check" CHECK ("rate_max" > 0),
	CONSTRAINT "policy_rate_window_seconds_check" CHECK ("rate_window_seconds" > 0),
	CONSTRAINT "policy_limit_check" CHECK ("threshold" is not null or "rate_max" is not null)
);
--> statement-breakpoint
CREATE TABLE "attune"."sensor" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."sensor_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint,
	"pack_ref" text,
	"label" text NOT NULL,
	"description" text,
	"entrypoint" text NOT NULL,
	"runtime" bigint NOT NULL,
	"runtime_ref" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"is_adhoc" boolean DEFAULT false NOT NULL,
	"param_schema" jsonb,
	"config" jsonb,
	CONSTRAINT "sensor_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$')
);
--> statement-breakpoint
CREATE TABLE "attune"."workflow_definition" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."workflow_definition_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint NOT NULL,
	"pack_ref" text NOT NULL,
	"label" text NOT NULL,
	"description" text,
	"version" text NOT NULL,
	"definition" jsonb NOT NULL,
	"param_schema" jsonb,
	"out_schema" jsonb,
	"tags" text[] DEFAULT '{}'::text[] NOT NULL,
	CONSTRAINT "workflow_definition_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$')
);
--> statement-breakpoint
ALTER TABLE "attune"."action" ADD COLUMN "workflow" bigint;--> statement-breakpoint
ALTER TABLE "attune"."event" ADD COLUMN "source" bigint;--> statement-breakpoint
ALTER TABLE "attune"."key" ADD COLUMN "owner_sensor" bigint;--> statement-breakpoint
ALTER TABLE "attune"."token" ADD COLUMN "sensor" bigint;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD COLUMN "sensor" bigint;--> statement-breakpoint
CREATE INDEX "action_workflow_idx" ON "attune"."action" ("workflow") WHERE "workflow" is not null;--> statement-breakpoint
CREATE INDEX "artifact_created_idx" ON "attune"."artifact" ("created" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "artifact_version_execution_idx" ON "attune"."artifact_version" ("execution") WHERE "execution" is not null;--> statement-breakpoint
CREATE INDEX "audit_event_created_idx" ON "attune"."audit_event" ("created" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "audit_event_actor_idx" ON "attune"."audit_event" ("actor") WHERE "actor" is not null;--> statement-breakpoint
CREATE INDEX "audit_event_resource_idx" ON "attune"."audit_event" ("resource_type","resource_ref");--> statement-breakpoint
CREATE INDEX "audit_event_request_id_idx" ON "attune"."audit_event" ("request_id");--> statement-breakpoint
CREATE INDEX "event_source_idx" ON "attune"."event" ("source") WHERE "source" is not null;--> statement-breakpoint
CREATE INDEX "idempotency_key_created_idx" ON "attune"."idempotency_key" ("created");--> statement-breakpoint
CREATE INDEX "inquiry_execution_idx" ON "attune"."inquiry" ("execution") WHERE "execution" is not null;--> statement-breakpoint
CREATE INDEX "inquiry_assigned_to_idx" ON "attune"."inquiry" ("assigned_to") WHERE "assigned_to" is not null;--> statement-breakpoint
CREATE INDEX "inquiry_assigned_role_idx" ON "attune"."inquiry" ("assigned_role") WHERE "assigned_role" is not null;--> statement-breakpoint
CREATE INDEX "inquiry_responded_by_idx" ON "attune"."inquiry" ("responded_by") WHERE "responded_by" is not null;--> statement-breakpoint
CREATE INDEX "inquiry_timeout_at_idx" ON "attune"."inquiry" ("timeout_at") WHERE "status" = 'pending' and "timeout_at" is not null;--> statement-breakpoint
CREATE INDEX "inquiry_created_idx" ON "attune"."inquiry" ("created" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "key_owner_sensor_idx" ON "attune"."key" ("owner_sensor") WHERE "owner_sensor" is not null;--> statement-breakpoint
CREATE INDEX "identity_role_role_idx" ON "attune"."identity_role" ("role");--> statement-breakpoint
CREATE INDEX "permission_set_role_role_idx" ON "attune"."permission_set_role" ("role");--> statement-breakpoint
CREATE INDEX "policy_pack_idx" ON "attune"."policy" ("pack") WHERE "pack" is not null;--> statement-breakpoint
CREATE INDEX "policy_action_idx" ON "attune"."policy" ("action") WHERE "action" is not null;--> statement-breakpoint
CREATE INDEX "sensor_pack_idx" ON "attune"."sensor" ("pack");--> statement-breakpoint
CREATE INDEX "sensor_runtime_idx" ON "attune"."sensor" ("runtime");--> statement-breakpoint
CREATE INDEX "token_sensor_idx" ON "attune"."token" ("sensor") WHERE "sensor" is not null;--> statement-breakpoint
CREATE INDEX "trigger_sensor_idx" ON "attune"."trigger" ("sensor") WHERE "sensor" is not null;--> statement-breakpoint
CREATE INDEX "workflow_definition_pack_idx" ON "attune"."workflow_definition" ("pack");--> statement-breakpoint
ALTER TABLE "attune"."action" ADD CONSTRAINT "action_workflow_workflow_definition_id_fkey" FOREIGN KEY ("workflow") REFERENCES "attune"."workflow_definition"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."artifact_version" ADD CONSTRAINT "artifact_version_artifact_artifact_id_fkey" FOREIGN KEY ("artifact") REFERENCES "attune"."artifact"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."artifact_version" ADD CONSTRAINT "artifact_version_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."audit_event" ADD CONSTRAINT "audit_event_actor_identity_id_fkey" FOREIGN KEY ("actor") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."event" ADD CONSTRAINT "event_source_sensor_id_fkey" FOREIGN KEY ("source") REFERENCES "attune"."sensor"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution_secret" ADD CONSTRAINT "execution_secret_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."idempotency_key" ADD CONSTRAINT "idempotency_key_identity_identity_id_fkey" FOREIGN KEY ("identity") REFERENCES "attune"."identity"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."inquiry" ADD CONSTRAINT "inquiry_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."inquiry" ADD CONSTRAINT "inquiry_assigned_to_identity_id_fkey" FOREIGN KEY ("assigned_to") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."inquiry" ADD CONSTRAINT "inquiry_responded_by_identity_id_fkey" FOREIGN KEY ("responded_by") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."key" ADD CONSTRAINT "key_owner_sensor_sensor_id_fkey" FOREIGN KEY ("owner_sensor") REFERENCES "attune"."sensor"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."identity_role" ADD CONSTRAINT "identity_role_identity_identity_id_fkey" FOREIGN KEY ("identity") REFERENCES "attune"."identity"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."permission_set_role" ADD CONSTRAINT "permission_set_role_permission_set_permission_set_id_fkey" FOREIGN KEY ("permission_set") REFERENCES "attune"."permission_set"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."policy" ADD CONSTRAINT "policy_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."policy" ADD CONSTRAINT "policy_action_action_id_fkey" FOREIGN KEY ("action") REFERENCES "attune"."action"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."sensor" ADD CONSTRAINT "sensor_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."sensor" ADD CONSTRAINT "sensor_runtime_runtime_id_fkey" FOREIGN KEY ("runtime") REFERENCES "attune"."runtime"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."token" ADD CONSTRAINT "token_sensor_sensor_id_fkey" FOREIGN KEY ("sensor") REFERENCES "attune"."sensor"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD CONSTRAINT "trigger_sensor_sensor_id_fkey" FOREIGN KEY ("sensor") REFERENCES "attune"."sensor"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."workflow_definition" ADD CONSTRAINT "workflow_definition_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."key" DROP CONSTRAINT "key_owner_check", ADD CONSTRAINT "key_owner_check" CHECK (("owner_identity" is not null) = ("owner_type" = 'identity') and ("owner_pack" is not null) = ("owner_type" = 'pack') and ("owner_action" is not null) = ("owner_type" = 'action') and ("owner_sensor" is not null) = ("owner_type" = 'sensor'));