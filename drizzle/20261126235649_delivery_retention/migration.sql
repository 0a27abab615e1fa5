DROP INDEX "attune"."webhook_delivery_created_idx";--> statement-breakpoint
CREATE INDEX "webhook_delivery_created_idx" ON "attune"."webhook_delivery" ("created") WHERE "hmac_verified" is not true or "delivery_id" is null;--> statement-breakpoint
CREATE INDEX "webhook_delivery_refused_idx" ON "attune"."webhook_delivery" ("trigger","created") WHERE "error" is not null;