-- How much of the time since then the executors saw the database, by which leases are judged: after an outage no worker is lost before
-- it could send a heartbeat again. Periods of several executors may overlap. The time before the first period counts.
CREATE FUNCTION attune.time_present(since timestamptz) RETURNS interval
  LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 1000
  RETURN CASE WHEN EXISTS (SELECT FROM attune.presence)
    THEN coalesce((SELECT sum(upper(period) - lower(period)) FROM unnest((
        SELECT range_agg(tstzrange(CASE WHEN p.id = (SELECT min(f.id) FROM attune.presence f) THEN since
          ELSE greatest(p.created, since) END, p.seen_until))
        FROM attune.presence p WHERE p.seen_until > since)) period), interval '0')
    ELSE now() - since END;
--> statement-breakpoint
CREATE OR REPLACE VIEW attune.healthy_worker AS
  SELECT id, created, updated, name, worker_type, runtime, host, port, status, capabilities, meta, last_heartbeat, cordoned
  FROM attune.worker WHERE status IN ('active', 'busy') AND attune.time_present(last_heartbeat) <= interval '30 seconds';
