CREATE INDEX "artifact_version_storage_key_idx" ON "attune"."artifact_version" ("storage_key") WHERE "storage_key" is not null;--> statement-breakpoint
CREATE INDEX "token_ended_idx" ON "attune"."token" (coalesce("revoked_at", "expires_at")) WHERE "kind" <> 'api';--> statement-breakpoint

-- A credential that has ended is of no use to anybody: that its row goes is told to nobody.
DROP TRIGGER token_access_delete ON attune.token;
--> statement-breakpoint
CREATE TRIGGER token_access_delete AFTER DELETE ON attune.token FOR EACH ROW
  WHEN (coalesce(least(old.revoked_at, old.expires_at), 'infinity') > now()) EXECUTE FUNCTION attune.access_notify();
--> statement-breakpoint
DROP TRIGGER token_notify ON attune.token;
--> statement-breakpoint
CREATE TRIGGER token_notify AFTER INSERT ON attune.token FOR EACH ROW EXECUTE FUNCTION attune.catalog_notify();
--> statement-breakpoint
CREATE TRIGGER token_notify_delete AFTER DELETE ON attune.token FOR EACH ROW
  WHEN (old.kind = 'api' OR coalesce(least(old.revoked_at, old.expires_at), 'infinity') > now()) EXECUTE FUNCTION attune.catalog_notify();
