-- Compiled rules are cached by rule: whatever may change one raises the revision of its trigger's rules and notes it with the rule.

-- Raises the revision of these triggers' rules, and returns the triggers. Their rows are locked until the transaction ends: a later revision is visible
-- only after all earlier ones.
CREATE FUNCTION attune.rules_raise(triggers bigint[]) RETURNS bigint[] LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  raised bigint[];
BEGIN
  PERFORM FROM trigger WHERE id = ANY (triggers) ORDER BY id FOR NO KEY UPDATE;
  WITH t AS (UPDATE trigger SET rules_revision = rules_revision + 1 WHERE id = ANY (triggers) RETURNING id)
    SELECT array_agg(id) INTO raised FROM t;
  RETURN raised;
END $$;
--> statement-breakpoint
-- Notes that these rules of the triggers changed at the triggers' revision, which this transaction has raised.
CREATE FUNCTION attune.rules_changed(triggers bigint[], rules bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO rule_change (rule, trigger, revision)
    SELECT r.id, t.id, t.rules_revision FROM rule r JOIN trigger t ON t.id = r.trigger
    WHERE r.id = ANY (rules) AND t.id = ANY (triggers)
    ON CONFLICT (rule) DO UPDATE SET trigger = excluded.trigger, revision = excluded.revision;
END $$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.rule_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  raised bigint[] := rules_raise(ARRAY[CASE WHEN tg_op <> 'INSERT' THEN old.trigger END, CASE WHEN tg_op <> 'DELETE' THEN new.trigger END]);
BEGIN
  IF tg_op = 'DELETE' THEN
    DELETE FROM rule_change WHERE rule = old.id;
  ELSE
    PERFORM rules_changed(raised, ARRAY[new.id]);
  END IF;
  RETURN null;
END $$;
--> statement-breakpoint
-- The rules are read after their triggers are locked, so that those are among them that were added in the meantime.
CREATE OR REPLACE FUNCTION attune.action_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  raised bigint[] := rules_raise(ARRAY(SELECT trigger FROM rule WHERE action = new.id));
BEGIN
  PERFORM rules_changed(raised, ARRAY(SELECT id FROM rule WHERE action = new.id));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE FUNCTION attune.rules_of_pack(pack bigint) RETURNS TABLE (id bigint, trigger bigint) LANGUAGE sql STABLE
  SET search_path = attune, pg_temp AS $$
  SELECT r.id, r.trigger FROM rule r LEFT JOIN action a ON a.id = r.action WHERE $1 IN (r.pack, a.pack)
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.pack_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  raised bigint[] := rules_raise(ARRAY(SELECT trigger FROM rules_of_pack(new.id)));
BEGIN
  PERFORM rules_changed(raised, ARRAY(SELECT id FROM rules_of_pack(new.id)));
  RETURN null;
END $$;
--> statement-breakpoint
-- The rules to whose actions a policy for this action, this pack or all may apply.
CREATE FUNCTION attune.rules_of_policy(policy attune.policy) RETURNS TABLE (id bigint, trigger bigint) LANGUAGE sql STABLE
  SET search_path = attune, pg_temp AS $$
  SELECT r.id, r.trigger FROM rule r JOIN action a ON a.id = r.action
  WHERE ($1).id IS NOT NULL AND CASE WHEN ($1).action IS NOT NULL THEN ($1).action = a.id WHEN ($1).pack IS NOT NULL THEN ($1).pack = a.pack ELSE true END
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION attune.policy_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  raised bigint[] := rules_raise(ARRAY(SELECT trigger FROM rules_of_policy(old) UNION SELECT trigger FROM rules_of_policy(new)));
BEGIN
  PERFORM rules_changed(raised, ARRAY(SELECT id FROM rules_of_policy(old) UNION SELECT id FROM rules_of_policy(new)));
  RETURN null;
END $$;
--> statement-breakpoint

INSERT INTO attune.rule_change (rule, trigger, revision) SELECT id, trigger, 0 FROM attune.rule WHERE trigger IS NOT NULL;
