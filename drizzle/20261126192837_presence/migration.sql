CREATE TABLE "attune"."presence" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "attune"."presence_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"created" timestamp(3) with time zone DEFAULT now() NOT NULL,
	"seen_until" timestamp(3) with time zone NOT NULL,
	CONSTRAINT "presence_seen_until_check" CHECK ("created" <= "seen_until")
);
