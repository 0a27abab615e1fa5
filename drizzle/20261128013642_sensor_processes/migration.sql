CREATE TYPE "attune"."sensor_process_status" AS ENUM('starting', 'running', 'stopping', 'waiting', 'stopped');--> statement-breakpoint
CREATE TABLE "attune"."sensor_event_key" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."sensor_event_key_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"sensor" bigint NOT NULL,
	"name" text NOT NULL,
	"event" bigint,
	CONSTRAINT "sensor_event_key_sensor_name_key" UNIQUE("sensor","name")
);
--> statement-breakpoint
CREATE TABLE "attune"."sensor_log" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."sensor_log_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"sensor" bigint NOT NULL,
	"seq" bigint NOT NULL,
	"stream" "attune"."log_stream" NOT NULL,
	"at" timestamp(3) with time zone NOT NULL,
	"text" text NOT NULL,
	CONSTRAINT "sensor_log_sensor_seq_key" UNIQUE("sensor","seq")
);
--> statement-breakpoint
CREATE TABLE "attune"."sensor_process" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."sensor_process_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"updated" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"sensor" bigint NOT NULL UNIQUE,
	"status" "attune"."sensor_process_status" DEFAULT 'stopped'::"attune"."sensor_process_status" NOT NULL,
	"since" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"pid" integer,
	"host" text,
	"restarts" integer DEFAULT 0 NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"last_error" text,
	"last_error_at" timestamp(3) with time zone,
	"next_start_at" timestamp(3) with time zone,
	"last_event_at" timestamp(3) with time zone,
	"fingerprint" text,
	"generation" bigint DEFAULT 0 NOT NULL,
	"lease_owner" jsonb,
	"lease_expires_at" timestamp(3) with time zone,
	"former" jsonb DEFAULT '[]' NOT NULL,
	CONSTRAINT "sensor_process_lease_expires_at_check" CHECK (("lease_expires_at" is not null) = ("status" in ('starting', 'running', 'stopping'))),
	CONSTRAINT "sensor_process_next_start_at_check" CHECK ("next_start_at" is null or "status" = 'waiting')
);
--> statement-breakpoint
CREATE INDEX "sensor_event_key_event_idx" ON "attune"."sensor_event_key" ("event");--> statement-breakpoint
ALTER TABLE "attune"."sensor_event_key" ADD CONSTRAINT "sensor_event_key_sensor_sensor_id_fkey" FOREIGN KEY ("sensor") REFERENCES "attune"."sensor"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."sensor_event_key" ADD CONSTRAINT "sensor_event_key_event_event_id_fkey" FOREIGN KEY ("event") REFERENCES "attune"."event"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."sensor_log" ADD CONSTRAINT "sensor_log_sensor_sensor_id_fkey" FOREIGN KEY ("sensor") REFERENCES "attune"."sensor"("id") ON DELETE CASCADE;--> statement-breakpoint
ALTER TABLE "attune"."sensor_process" ADD CONSTRAINT "sensor_process_sensor_sensor_id_fkey" FOREIGN KEY ("sensor") REFERENCES "attune"."sensor"("id") ON DELETE CASCADE;