ALTER TABLE "attune"."event" ADD COLUMN "trace_context" text;--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD COLUMN "trace_context" text;--> statement-breakpoint
ALTER TABLE "attune"."event" ADD CONSTRAINT "event_trace_context_check" CHECK ("trace_context" ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$');--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_trace_context_check" CHECK ("trace_context" ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$');