CREATE SCHEMA "attune";
--> statement-breakpoint
CREATE TYPE "attune"."enforcement_condition" AS ENUM('any', 'all');--> statement-breakpoint
CREATE TYPE "attune"."enforcement_status" AS ENUM('created', 'processed', 'disabled');--> statement-breakpoint
CREATE TYPE "attune"."execution_status" AS ENUM('requested', 'scheduling', 'scheduled', 'running', 'completed', 'failed', 'canceling', 'cancelled', 'timeout', 'abandoned');--> statement-breakpoint
CREATE TYPE "attune"."log_stream" AS ENUM('stdout', 'stderr', 'system');--> statement-breakpoint
CREATE TYPE "attune"."notification_state" AS ENUM('created', 'queued', 'processing', 'error');--> statement-breakpoint
CREATE TYPE "attune"."owner_type" AS ENUM('system', 'identity', 'pack', 'action', 'sensor');--> statement-breakpoint
CREATE TYPE "attune"."runtime_type" AS ENUM('action', 'sensor');--> statement-breakpoint
CREATE TYPE "attune"."worker_status" AS ENUM('active', 'inactive', 'busy', 'error');--> statement-breakpoint
CREATE TYPE "attune"."worker_type" AS ENUM('local', 'remote', 'container');--> statement-breakpoint
-- Stands here, before the first table that needs it: the terminal statuses, defined once.
CREATE FUNCTION "attune"."is_terminal"("status" "attune"."execution_status") RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  RETURN "status" IN ('completed', 'failed', 'cancelled', 'timeout', 'abandoned');--> statement-breakpoint
CREATE TABLE "attune"."action" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."action_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint,
	"pack_ref" text,
	"label" text NOT NULL,
	"description" text,
	"entrypoint" text NOT NULL,
	"runtime" bigint,
	"enabled" boolean DEFAULT true NOT NULL,
	"is_adhoc" boolean DEFAULT false NOT NULL,
	"param_schema" jsonb,
	"out_schema" jsonb,
	"parameter_delivery" text DEFAULT 'stdin' NOT NULL,
	"parameter_format" text DEFAULT 'json' NOT NULL,
	"output_format" text DEFAULT 'text' NOT NULL,
	"timeout_seconds" integer,
	"retry" jsonb,
	"on_worker_loss" text DEFAULT 'abandon' NOT NULL,
	"permission_set_refs" text[] DEFAULT '{}'::text[] NOT NULL,
	"worker_selector" jsonb DEFAULT '{}' NOT NULL,
	CONSTRAINT "action_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$'),
	CONSTRAINT "action_parameter_delivery_check" CHECK ("parameter_delivery" in ('stdin', 'file')),
	CONSTRAINT "action_parameter_format_check" CHECK ("parameter_format" in ('json', 'yaml', 'dotenv')),
	CONSTRAINT "action_output_format_check" CHECK ("output_format" in ('text', 'json', 'yaml', 'jsonl')),
	CONSTRAINT "action_timeout_seconds_check" CHECK ("timeout_seconds" > 0),
	CONSTRAINT "action_on_worker_loss_check" CHECK ("on_worker_loss" in ('abandon', 'requeue'))
);
--> statement-breakpoint
CREATE TABLE "attune"."enforcement" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."enforcement_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"rule" bigint,
	"rule_ref" text NOT NULL,
	"trigger_ref" text NOT NULL,
	"config" jsonb,
	"event" bigint,
	"status" "attune"."enforcement_status" DEFAULT 'created'::"attune"."enforcement_status" NOT NULL,
	"payload" jsonb DEFAULT '{}' NOT NULL,
	"condition" "attune"."enforcement_condition" DEFAULT 'all'::"attune"."enforcement_condition" NOT NULL,
	"conditions" jsonb DEFAULT '[]' NOT NULL,
	"resolved_at" timestamp(3) with time zone,
	"error" jsonb
);
--> statement-breakpoint
CREATE TABLE "attune"."event" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."event_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"trigger" bigint,
	"trigger_ref" text NOT NULL,
	"config" jsonb,
	"payload" jsonb,
	"source_ref" text,
	"rule" bigint,
	"trace_tag" text NOT NULL,
	"cause_execution" bigint,
	"generation" integer DEFAULT 0 NOT NULL,
	"evaluated_at" timestamp(3) with time zone,
	"tries" integer DEFAULT 0 NOT NULL,
	"skipped" text
);
--> statement-breakpoint
CREATE TABLE "attune"."rule_evaluation" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."rule_evaluation_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"event" bigint NOT NULL,
	"rule" bigint NOT NULL,
	"rule_revision" integer NOT NULL,
	"matched" boolean NOT NULL,
	"detail" jsonb NOT NULL
);
--> statement-breakpoint
CREATE TABLE "attune"."execution" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."execution_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"action" bigint,
	"action_ref" text NOT NULL,
	"rule_ref" text,
	"trigger_ref" text,
	"config" jsonb,
	"env_vars" jsonb,
	"parent" bigint,
	"root" bigint,
	"depth" integer DEFAULT 0 NOT NULL,
	"enforcement" bigint,
	"executor" bigint,
	"worker" bigint,
	"worker_name" text,
	"status" "attune"."execution_status" DEFAULT 'requested'::"attune"."execution_status" NOT NULL,
	"reason" text,
	"result" jsonb,
	"error" jsonb,
	"priority" integer DEFAULT 0 NOT NULL,
	"run_at" timestamp(3) with time zone,
	"scheduled_at" timestamp(3) with time zone,
	"started_at" timestamp(3) with time zone,
	"finished_at" timestamp(3) with time zone,
	"deadline" timestamp(3) with time zone,
	"timeout_seconds" integer,
	"attempt" integer DEFAULT 0 NOT NULL,
	"retry_of" bigint,
	"rerun_of" bigint,
	"retry_count" integer DEFAULT 0 NOT NULL,
	"max_retries" integer,
	"retry" jsonb,
	"on_worker_loss" text NOT NULL,
	"permission_set_refs" text[] DEFAULT '{}'::text[] NOT NULL,
	"cancel_requested_at" timestamp(3) with time zone,
	"cancel_requested_by" bigint,
	"pack_release" bigint,
	"trace_tag" text NOT NULL,
	"generation" integer DEFAULT 0 NOT NULL,
	"workflow_task" jsonb,
	"worker_selector" jsonb DEFAULT '{}' NOT NULL,
	CONSTRAINT "execution_on_worker_loss_check" CHECK ("on_worker_loss" in ('abandon', 'requeue')),
	CONSTRAINT "execution_timeout_seconds_check" CHECK ("timeout_seconds" > 0),
	CONSTRAINT "execution_attempt_check" CHECK ("attempt" >= 0),
	CONSTRAINT "execution_finished_at_check" CHECK (attune.is_terminal("status") = ("finished_at" is not null))
);
--> statement-breakpoint
CREATE TABLE "attune"."execution_log" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."execution_log_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"execution" bigint NOT NULL,
	"seq" bigint NOT NULL,
	"stream" "attune"."log_stream" NOT NULL,
	"at" timestamp(3) with time zone NOT NULL,
	"text" text NOT NULL,
	CONSTRAINT "execution_log_execution_seq_key" UNIQUE("execution","seq")
);
--> statement-breakpoint
CREATE TABLE "attune"."execution_move" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."execution_move_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"from_status" "attune"."execution_status",
	"to_status" "attune"."execution_status" NOT NULL,
	CONSTRAINT "execution_move_key" UNIQUE NULLS NOT DISTINCT("from_status","to_status")
);
--> statement-breakpoint
CREATE TABLE "attune"."execution_transition" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."execution_transition_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"execution" bigint NOT NULL,
	"from_status" "attune"."execution_status",
	"to_status" "attune"."execution_status" NOT NULL,
	"at" timestamp(3) with time zone NOT NULL,
	"attempt" integer NOT NULL,
	"worker" bigint,
	"reason" text
);
--> statement-breakpoint
CREATE TABLE "attune"."identity" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."identity_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"login" text NOT NULL UNIQUE,
	"display_name" text,
	"password_hash" text,
	"attributes" jsonb DEFAULT '{}' NOT NULL,
	"frozen" boolean DEFAULT false NOT NULL
);
--> statement-breakpoint
CREATE TABLE "attune"."key" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."key_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"owner_type" "attune"."owner_type" NOT NULL,
	"owner" text NOT NULL,
	"owner_identity" bigint,
	"owner_pack" bigint,
	"owner_action" bigint,
	"name" text NOT NULL,
	"encrypted" boolean NOT NULL,
	"encryption_key_hash" text,
	"value" text NOT NULL,
	CONSTRAINT "key_owner_name_key" UNIQUE("owner_type","owner","name"),
	CONSTRAINT "key_name_check" CHECK ("name" ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
	CONSTRAINT "key_encryption_check" CHECK ("encrypted" = ("encryption_key_hash" is not null)),
	CONSTRAINT "key_owner_check" CHECK (("owner_identity" is not null) = ("owner_type" = 'identity') and ("owner_pack" is not null) = ("owner_type" = 'pack') and ("owner_action" is not null) = ("owner_type" = 'action'))
);
--> statement-breakpoint
CREATE TABLE "attune"."notification" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."notification_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"channel" text NOT NULL,
	"entity_type" text NOT NULL,
	"entity" bigint NOT NULL,
	"activity" text NOT NULL,
	"state" "attune"."notification_state" DEFAULT 'created'::"attune"."notification_state" NOT NULL,
	"content" jsonb,
	"pack_ref" text,
	"xid" xid8 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "attune"."notification_epoch" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."notification_epoch_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"singleton" integer DEFAULT 1 NOT NULL UNIQUE,
	"epoch" bigint NOT NULL,
	"pruned_xid" xid8 DEFAULT '0' NOT NULL,
	"pruned_id" bigint DEFAULT 0 NOT NULL,
	"database" text,
	"raised_at" timestamp(3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "notification_epoch_singleton_check" CHECK ("singleton" = 1)
);
--> statement-breakpoint
CREATE TABLE "attune"."pack" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."pack_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"label" text NOT NULL,
	"description" text,
	"version" text NOT NULL,
	"conf_schema" jsonb DEFAULT '{}' NOT NULL,
	"config" jsonb DEFAULT '{}' NOT NULL,
	"meta" jsonb DEFAULT '{}' NOT NULL,
	"tags" text[] DEFAULT '{}'::text[] NOT NULL,
	"runtime_deps" text[] DEFAULT '{}'::text[] NOT NULL,
	"dependencies" text[] DEFAULT '{}'::text[] NOT NULL,
	"is_standard" boolean DEFAULT false NOT NULL,
	"source_type" text,
	"source_url" text,
	"source_ref" text,
	"checksum" text,
	"installed_at" timestamp(3) with time zone,
	"installed_by" bigint,
	"storage_path" text,
	"active_release" bigint,
	CONSTRAINT "pack_ref_check" CHECK ("ref" ~ '^[a-z][a-z0-9_-]+$')
);
--> statement-breakpoint
CREATE TABLE "attune"."pack_release" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."pack_release_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"pack" bigint NOT NULL,
	"version" text NOT NULL,
	"digest" text NOT NULL,
	"manifest" jsonb NOT NULL,
	"path" text NOT NULL,
	"size" bigint NOT NULL,
	CONSTRAINT "pack_release_pack_digest_key" UNIQUE("pack","digest")
);
--> statement-breakpoint
CREATE TABLE "attune"."permission_assignment" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."permission_assignment_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"identity" bigint NOT NULL,
	"permission_set" bigint NOT NULL,
	CONSTRAINT "permission_assignment_identity_permission_set_key" UNIQUE("identity","permission_set")
);
--> statement-breakpoint
CREATE TABLE "attune"."permission_set" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."permission_set_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint,
	"pack_ref" text,
	"label" text,
	"description" text,
	"grants" jsonb DEFAULT '[]' NOT NULL,
	CONSTRAINT "permission_set_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$')
);
--> statement-breakpoint
CREATE TABLE "attune"."rule" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."rule_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint NOT NULL,
	"pack_ref" text NOT NULL,
	"label" text NOT NULL,
	"description" text,
	"action" bigint,
	"action_ref" text NOT NULL,
	"trigger" bigint,
	"trigger_ref" text NOT NULL,
	"condition" "attune"."enforcement_condition" DEFAULT 'all'::"attune"."enforcement_condition" NOT NULL,
	"conditions" jsonb DEFAULT '[]' NOT NULL,
	"action_params" jsonb DEFAULT '{}' NOT NULL,
	"trigger_params" jsonb DEFAULT '{}' NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"is_adhoc" boolean DEFAULT false NOT NULL,
	"revision" integer DEFAULT 1 NOT NULL,
	"record_evaluations" text DEFAULT 'near' NOT NULL,
	"owner" bigint,
	CONSTRAINT "rule_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$'),
	CONSTRAINT "rule_record_evaluations_check" CHECK ("record_evaluations" in ('none', 'near', 'all'))
);
--> statement-breakpoint
CREATE TABLE "attune"."timer" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."timer_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"rule" bigint NOT NULL UNIQUE,
	"kind" text NOT NULL,
	"next_fire_at" timestamp(3) with time zone,
	"last_fired_at" timestamp(3) with time zone,
	"fire_count" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "attune"."runtime" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."runtime_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint,
	"pack_ref" text,
	"description" text,
	"runtime_type" "attune"."runtime_type" NOT NULL,
	"name" text NOT NULL,
	"distributions" jsonb NOT NULL,
	"installation" jsonb,
	CONSTRAINT "runtime_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.(action|sensor)\.[^.]+$')
);
--> statement-breakpoint
CREATE TABLE "attune"."token" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."token_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"kind" text NOT NULL,
	"token_hash" text NOT NULL UNIQUE,
	"identity" bigint,
	"execution" bigint,
	"label" text,
	"prefix" text,
	"permission_set_refs" text[],
	"expires_at" timestamp(3) with time zone,
	"last_used_at" timestamp(3) with time zone,
	"revoked_at" timestamp(3) with time zone,
	"revoked_by" bigint,
	CONSTRAINT "token_kind_check" CHECK ("kind" in ('signin', 'session', 'api', 'execution', 'sensor'))
);
--> statement-breakpoint
CREATE TABLE "attune"."trigger" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."trigger_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"ref" text NOT NULL UNIQUE,
	"pack" bigint,
	"pack_ref" text,
	"label" text NOT NULL,
	"description" text,
	"enabled" boolean DEFAULT true NOT NULL,
	"is_adhoc" boolean DEFAULT false NOT NULL,
	"param_schema" jsonb,
	"out_schema" jsonb,
	"sensor_ref" text,
	"webhook_enabled" boolean DEFAULT false NOT NULL,
	"webhook_key" text UNIQUE,
	"webhook_config" jsonb DEFAULT '{}' NOT NULL,
	"rules_revision" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "trigger_ref_check" CHECK ("ref" = lower("ref") and "ref" ~ '^[^.]+\.[^.]+$')
);
--> statement-breakpoint
CREATE TABLE "attune"."webhook_delivery" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."webhook_delivery_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"trigger" bigint NOT NULL,
	"event" bigint,
	"source_ip" inet,
	"headers" jsonb DEFAULT '{}' NOT NULL,
	"status_code" integer NOT NULL,
	"error" text,
	"duration_ms" integer NOT NULL,
	"size" integer NOT NULL,
	"hmac_verified" boolean,
	"rate_limited" boolean DEFAULT false NOT NULL,
	"delivery_id" text,
	CONSTRAINT "webhook_delivery_trigger_delivery_id_key" UNIQUE("trigger","delivery_id")
);
--> statement-breakpoint
CREATE TABLE "attune"."worker" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."worker_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"changed" xid8 DEFAULT pg_current_xact_id() NOT NULL,
	"name" text NOT NULL,
	"worker_type" "attune"."worker_type" NOT NULL,
	"runtime" bigint,
	"host" text,
	"port" integer,
	"status" "attune"."worker_status" DEFAULT 'inactive'::"attune"."worker_status",
	"capabilities" jsonb,
	"meta" jsonb,
	"last_heartbeat" timestamp(3) with time zone,
	"cordoned" boolean DEFAULT false NOT NULL,
	CONSTRAINT "worker_port_check" CHECK ("port" between 1 and 65535)
);
--> statement-breakpoint
CREATE INDEX "action_pack_idx" ON "attune"."action" ("pack");--> statement-breakpoint
CREATE INDEX "action_runtime_idx" ON "attune"."action" ("runtime");--> statement-breakpoint
CREATE UNIQUE INDEX "enforcement_rule_event_key" ON "attune"."enforcement" ("rule","event") WHERE "rule" is not null;--> statement-breakpoint
CREATE INDEX "enforcement_event_idx" ON "attune"."enforcement" ("event");--> statement-breakpoint
CREATE INDEX "enforcement_created_idx" ON "attune"."enforcement" ("created" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "event_created_idx" ON "attune"."event" ("created" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "event_trigger_idx" ON "attune"."event" ("trigger");--> statement-breakpoint
CREATE INDEX "event_trigger_ref_idx" ON "attune"."event" ("trigger_ref");--> statement-breakpoint
CREATE INDEX "event_rule_idx" ON "attune"."event" ("rule") WHERE "rule" is not null;--> statement-breakpoint
CREATE INDEX "event_cause_execution_idx" ON "attune"."event" ("cause_execution") WHERE "cause_execution" is not null;--> statement-breakpoint
CREATE INDEX "event_trace_tag_idx" ON "attune"."event" ("trace_tag");--> statement-breakpoint
CREATE INDEX "event_unevaluated_idx" ON "attune"."event" ("id") WHERE "evaluated_at" is null;--> statement-breakpoint
CREATE INDEX "event_payload_idx" ON "attune"."event" USING gin ("payload" jsonb_path_ops);--> statement-breakpoint
CREATE INDEX "rule_evaluation_event_idx" ON "attune"."rule_evaluation" ("event");--> statement-breakpoint
CREATE INDEX "rule_evaluation_rule_idx" ON "attune"."rule_evaluation" ("rule");--> statement-breakpoint
CREATE UNIQUE INDEX "execution_enforcement_key" ON "attune"."execution" ("enforcement") WHERE "depth" = 0 and "retry_count" = 0 and "enforcement" is not null;--> statement-breakpoint
CREATE INDEX "execution_enforcement_idx" ON "attune"."execution" ("enforcement") WHERE "enforcement" is not null;--> statement-breakpoint
CREATE INDEX "execution_status_idx" ON "attune"."execution" ("status","id") WHERE not attune.is_terminal("status");--> statement-breakpoint
CREATE INDEX "execution_created_idx" ON "attune"."execution" ("created" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "execution_action_idx" ON "attune"."execution" ("action");--> statement-breakpoint
CREATE INDEX "execution_action_ref_idx" ON "attune"."execution" ("action_ref");--> statement-breakpoint
CREATE INDEX "execution_trace_tag_idx" ON "attune"."execution" ("trace_tag");--> statement-breakpoint
CREATE INDEX "execution_parent_idx" ON "attune"."execution" ("parent") WHERE "parent" is not null;--> statement-breakpoint
CREATE INDEX "execution_root_idx" ON "attune"."execution" ("root") WHERE "root" is not null;--> statement-breakpoint
CREATE INDEX "execution_executor_idx" ON "attune"."execution" ("executor") WHERE "executor" is not null;--> statement-breakpoint
CREATE INDEX "execution_worker_idx" ON "attune"."execution" ("worker") WHERE "worker" is not null;--> statement-breakpoint
CREATE INDEX "execution_retry_of_idx" ON "attune"."execution" ("retry_of") WHERE "retry_of" is not null;--> statement-breakpoint
CREATE INDEX "execution_rerun_of_idx" ON "attune"."execution" ("rerun_of") WHERE "rerun_of" is not null;--> statement-breakpoint
CREATE INDEX "execution_cancel_requested_by_idx" ON "attune"."execution" ("cancel_requested_by") WHERE "cancel_requested_by" is not null;--> statement-breakpoint
CREATE INDEX "execution_pack_release_idx" ON "attune"."execution" ("pack_release") WHERE "pack_release" is not null;--> statement-breakpoint
CREATE INDEX "execution_transition_execution_idx" ON "attune"."execution_transition" ("execution");--> statement-breakpoint
CREATE INDEX "key_owner_identity_idx" ON "attune"."key" ("owner_identity") WHERE "owner_identity" is not null;--> statement-breakpoint
CREATE INDEX "key_owner_pack_idx" ON "attune"."key" ("owner_pack") WHERE "owner_pack" is not null;--> statement-breakpoint
CREATE INDEX "key_owner_action_idx" ON "attune"."key" ("owner_action") WHERE "owner_action" is not null;--> statement-breakpoint
CREATE INDEX "notification_xid_idx" ON "attune"."notification" ("xid","id");--> statement-breakpoint
CREATE INDEX "notification_created_idx" ON "attune"."notification" ("created");--> statement-breakpoint
CREATE INDEX "pack_installed_by_idx" ON "attune"."pack" ("installed_by") WHERE "installed_by" is not null;--> statement-breakpoint
CREATE INDEX "pack_active_release_idx" ON "attune"."pack" ("active_release") WHERE "active_release" is not null;--> statement-breakpoint
CREATE INDEX "pack_config_idx" ON "attune"."pack" USING gin ("config");--> statement-breakpoint
CREATE INDEX "pack_meta_idx" ON "attune"."pack" USING gin ("meta");--> statement-breakpoint
CREATE INDEX "pack_tags_idx" ON "attune"."pack" USING gin ("tags");--> statement-breakpoint
CREATE INDEX "permission_assignment_permission_set_idx" ON "attune"."permission_assignment" ("permission_set");--> statement-breakpoint
CREATE INDEX "permission_set_pack_idx" ON "attune"."permission_set" ("pack");--> statement-breakpoint
CREATE INDEX "rule_pack_idx" ON "attune"."rule" ("pack");--> statement-breakpoint
CREATE INDEX "rule_action_idx" ON "attune"."rule" ("action");--> statement-breakpoint
CREATE INDEX "rule_trigger_idx" ON "attune"."rule" ("trigger");--> statement-breakpoint
CREATE INDEX "rule_owner_idx" ON "attune"."rule" ("owner") WHERE "owner" is not null;--> statement-breakpoint
CREATE INDEX "timer_next_fire_at_idx" ON "attune"."timer" ("next_fire_at") WHERE "next_fire_at" is not null;--> statement-breakpoint
CREATE INDEX "runtime_pack_idx" ON "attune"."runtime" ("pack");--> statement-breakpoint
CREATE INDEX "token_identity_idx" ON "attune"."token" ("identity");--> statement-breakpoint
CREATE INDEX "token_execution_idx" ON "attune"."token" ("execution") WHERE "execution" is not null;--> statement-breakpoint
CREATE INDEX "token_revoked_by_idx" ON "attune"."token" ("revoked_by") WHERE "revoked_by" is not null;--> statement-breakpoint
CREATE INDEX "trigger_pack_idx" ON "attune"."trigger" ("pack");--> statement-breakpoint
CREATE INDEX "webhook_delivery_event_idx" ON "attune"."webhook_delivery" ("event") WHERE "event" is not null;--> statement-breakpoint
CREATE INDEX "webhook_delivery_created_idx" ON "attune"."webhook_delivery" ("created");--> statement-breakpoint
CREATE INDEX "worker_name_idx" ON "attune"."worker" ("name");--> statement-breakpoint
CREATE INDEX "worker_runtime_idx" ON "attune"."worker" ("runtime") WHERE "runtime" is not null;--> statement-breakpoint
CREATE INDEX "worker_status_idx" ON "attune"."worker" ("status");--> statement-breakpoint
ALTER TABLE "attune"."action" ADD CONSTRAINT "action_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."action" ADD CONSTRAINT "action_runtime_runtime_id_fkey" FOREIGN KEY ("runtime") REFERENCES "attune"."runtime"("id") ON DELETE RESTRICT;--> statement-breakpoint
ALTER TABLE "attune"."enforcement" ADD CONSTRAINT "enforcement_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."enforcement" ADD CONSTRAINT "enforcement_event_event_id_fkey" FOREIGN KEY ("event") REFERENCES "attune"."event"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."event" ADD CONSTRAINT "event_trigger_trigger_id_fkey" FOREIGN KEY ("trigger") REFERENCES "attune"."trigger"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."event" ADD CONSTRAINT "event_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD CONSTRAINT "rule_evaluation_event_event_id_fkey" FOREIGN KEY ("event") REFERENCES "attune"."event"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."rule_evaluation" ADD CONSTRAINT "rule_evaluation_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_action_action_id_fkey" FOREIGN KEY ("action") REFERENCES "attune"."action"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_parent_execution_id_fkey" FOREIGN KEY ("parent") REFERENCES "attune"."execution"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_enforcement_enforcement_id_fkey" FOREIGN KEY ("enforcement") REFERENCES "attune"."enforcement"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_executor_identity_id_fkey" FOREIGN KEY ("executor") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_worker_worker_id_fkey" FOREIGN KEY ("worker") REFERENCES "attune"."worker"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_retry_of_execution_id_fkey" FOREIGN KEY ("retry_of") REFERENCES "attune"."execution"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_rerun_of_execution_id_fkey" FOREIGN KEY ("rerun_of") REFERENCES "attune"."execution"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_cancel_requested_by_identity_id_fkey" FOREIGN KEY ("cancel_requested_by") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_pack_release_pack_release_id_fkey" FOREIGN KEY ("pack_release") REFERENCES "attune"."pack_release"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."execution_log" ADD CONSTRAINT "execution_log_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."execution_transition" ADD CONSTRAINT "execution_transition_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."key" ADD CONSTRAINT "key_owner_identity_identity_id_fkey" FOREIGN KEY ("owner_identity") REFERENCES "attune"."identity"("id") ON DELETE RESTRICT;--> statement-breakpoint
ALTER TABLE "attune"."key" ADD CONSTRAINT "key_owner_pack_pack_id_fkey" FOREIGN KEY ("owner_pack") REFERENCES "attune"."pack"("id") ON DELETE RESTRICT;--> statement-breakpoint
ALTER TABLE "attune"."key" ADD CONSTRAINT "key_owner_action_action_id_fkey" FOREIGN KEY ("owner_action") REFERENCES "attune"."action"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."pack" ADD CONSTRAINT "pack_installed_by_identity_id_fkey" FOREIGN KEY ("installed_by") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."pack" ADD CONSTRAINT "pack_active_release_pack_release_id_fkey" FOREIGN KEY ("active_release") REFERENCES "attune"."pack_release"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."pack_release" ADD CONSTRAINT "pack_release_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."permission_assignment" ADD CONSTRAINT "permission_assignment_identity_identity_id_fkey" FOREIGN KEY ("identity") REFERENCES "attune"."identity"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."permission_assignment" ADD CONSTRAINT "permission_assignment_permission_set_permission_set_id_fkey" FOREIGN KEY ("permission_set") REFERENCES "attune"."permission_set"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."permission_set" ADD CONSTRAINT "permission_set_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD CONSTRAINT "rule_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD CONSTRAINT "rule_action_action_id_fkey" FOREIGN KEY ("action") REFERENCES "attune"."action"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD CONSTRAINT "rule_trigger_trigger_id_fkey" FOREIGN KEY ("trigger") REFERENCES "attune"."trigger"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."rule" ADD CONSTRAINT "rule_owner_identity_id_fkey" FOREIGN KEY ("owner") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."timer" ADD CONSTRAINT "timer_rule_rule_id_fkey" FOREIGN KEY ("rule") REFERENCES "attune"."rule"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."runtime" ADD CONSTRAINT "runtime_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."token" ADD CONSTRAINT "token_identity_identity_id_fkey" FOREIGN KEY ("identity") REFERENCES "attune"."identity"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."token" ADD CONSTRAINT "token_execution_execution_id_fkey" FOREIGN KEY ("execution") REFERENCES "attune"."execution"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."token" ADD CONSTRAINT "token_revoked_by_identity_id_fkey" FOREIGN KEY ("revoked_by") REFERENCES "attune"."identity"("id") ON DELETE SET NULL;--> statement-breakpoint
ALTER TABLE "attune"."trigger" ADD CONSTRAINT "trigger_pack_pack_id_fkey" FOREIGN KEY ("pack") REFERENCES "attune"."pack"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."webhook_delivery" ADD CONSTRAINT "webhook_delivery_trigger_trigger_id_fkey" FOREIGN KEY ("trigger") REFERENCES "attune"."trigger"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."worker" ADD CONSTRAINT "worker_runtime_runtime_id_fkey" FOREIGN KEY ("runtime") REFERENCES "attune"."runtime"("id") ON DELETE SET NULL;