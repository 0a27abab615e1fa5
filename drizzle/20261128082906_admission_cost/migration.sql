-- Admission reads the rate of a group once, and only where the policy has one. It computes no key where the policy has no parameters.
ALTER FUNCTION attune.policy_rate(bigint, int, int) STRICT;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.policy_enter(entering jsonb)
  RETURNS TABLE (ord int, policy_group bigint, policy_ref text, active int, waiting int, method attune.policy_method, threshold int,
    rate_max int, rate_window_seconds int, started int, oldest timestamptz)
  LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
#variable_conflict use_column
DECLARE
  places constant jsonb := (
    SELECT jsonb_agg(jsonb_build_object('ord', r.ord, 'policy', p.id, 'key',
      CASE WHEN p.parameters = '{}' THEN '[]'
        ELSE policy_key(p.parameters, coalesce(r.config, (SELECT e.config FROM execution e WHERE e.id = r.execution))) END))
    FROM jsonb_to_recordset(entering) AS r(ord int, policy bigint, execution bigint, config jsonb)
      JOIN (SELECT id, parameters FROM policy WHERE enabled AND id IN (
        SELECT DISTINCT (x ->> 'policy')::bigint FROM jsonb_array_elements(entering) x) ORDER BY id FOR KEY SHARE) p ON p.id = r.policy);
BEGIN
  INSERT INTO policy_group (policy, key)
    SELECT DISTINCT r.policy, r.key FROM jsonb_to_recordset(places) AS r(policy bigint, key text) ORDER BY 1, 2
    ON CONFLICT (policy, key) DO UPDATE SET key = excluded.key;
  RETURN QUERY
    WITH g AS MATERIALIZED (
      SELECT g.policy, g.key, g.id, p.ref, g.active, g.waiting, p.method, p.threshold, p.rate_max, p.rate_window_seconds,
        s.started, s.oldest
      FROM (SELECT DISTINCT x.policy, x.key FROM jsonb_to_recordset(places) AS x(policy bigint, key text)) d
        JOIN policy p ON p.id = d.policy AND p.enabled JOIN policy_group g ON g.policy = d.policy AND g.key = d.key
        CROSS JOIN LATERAL policy_rate(g.id, p.rate_max, p.rate_window_seconds) s)
    SELECT r.ord, g.id, g.ref, g.active, g.waiting, g.method, g.threshold, g.rate_max, g.rate_window_seconds, g.started, g.oldest
    FROM jsonb_to_recordset(places) AS r(ord int, policy bigint, key text) JOIN g ON g.policy = r.policy AND g.key = r.key
    ORDER BY r.ord;
END $$;
