CREATE TABLE "attune"."pending_event" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."pending_event_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"event" bigint NOT NULL UNIQUE,
	"retry_at" timestamp(3) with time zone
);
--> statement-breakpoint
ALTER TABLE "attune"."pending_event" ADD CONSTRAINT "pending_event_event_event_id_fkey" FOREIGN KEY ("event") REFERENCES "attune"."event"("id") ON DELETE CASCADE;
--> statement-breakpoint
-- While the index that finds them is there.
INSERT INTO "attune"."pending_event" ("event") SELECT "id" FROM "attune"."event" WHERE "evaluated_at" IS NULL ORDER BY "id";
--> statement-breakpoint
DROP INDEX "attune"."event_unevaluated_idx";
