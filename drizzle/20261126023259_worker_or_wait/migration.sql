ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_worker_check" CHECK ("worker" is not null or "waits_for" is not null or not attune.is_in_progress("status"));--> statement-breakpoint
ALTER TABLE "attune"."execution" ADD CONSTRAINT "execution_waiting_check" CHECK ("waits_for" is null
        or ("worker" is null and "status" <> 'scheduled' and not attune.is_terminal("status")));