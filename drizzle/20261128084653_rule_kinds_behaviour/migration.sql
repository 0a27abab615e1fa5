-- A statement raises the revision of each trigger once, however many rules it changes: so many versions of one row would take time in the square of their number.
DROP TRIGGER rule_invalidate ON attune.rule;
--> statement-breakpoint
DROP TRIGGER rule_invalidate_update ON attune.rule;
--> statement-breakpoint
DROP TRIGGER answer_invalidate ON attune.rule;
--> statement-breakpoint
DROP TRIGGER answer_invalidate_update ON attune.rule;
--> statement-breakpoint
DROP TRIGGER answer_invalidate_delete ON attune.rule;
--> statement-breakpoint
DROP FUNCTION attune.rule_invalidate();
--> statement-breakpoint
DROP FUNCTION attune.answer_invalidate();
--> statement-breakpoint
-- Whatever a rule's row contains, revision included, is in its compiled form. Its events are evaluated by the rules of its own trigger, and of the one whose
-- events answer them.
CREATE FUNCTION attune.rules_inserted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  raised bigint[] := rules_raise(ARRAY(SELECT trigger FROM new_rules WHERE trigger IS NOT NULL
    UNION SELECT t.id FROM new_rules r JOIN trigger t ON t.ref = coalesce(r."window" #>> '{absence,of,trigger}', r.trigger_ref) WHERE r."window" ? 'absence'));
BEGIN
  PERFORM rules_changed(raised, ARRAY(SELECT id FROM new_rules));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE FUNCTION attune.rules_updated() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
DECLARE
  changed bigint[] := ARRAY(SELECT n.id FROM new_rules n JOIN old_rules o ON o.id = n.id
    WHERE to_jsonb(o) - 'updated' IS DISTINCT FROM to_jsonb(n) - 'updated');
  raised bigint[];
BEGIN
  IF changed = '{}' THEN RETURN null; END IF;
  raised := rules_raise(ARRAY(
    WITH r AS (SELECT trigger, trigger_ref, "window" FROM old_rules WHERE id = ANY (changed)
      UNION ALL SELECT trigger, trigger_ref, "window" FROM new_rules WHERE id = ANY (changed))
    SELECT trigger FROM r WHERE trigger IS NOT NULL
    UNION SELECT t.id FROM r r JOIN trigger t ON t.ref = coalesce(r."window" #>> '{absence,of,trigger}', r.trigger_ref) WHERE r."window" ? 'absence'));
  PERFORM rules_changed(raised, changed);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE FUNCTION attune.rules_deleted() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM rules_raise(ARRAY(SELECT trigger FROM old_rules WHERE trigger IS NOT NULL
    UNION SELECT t.id FROM old_rules r JOIN trigger t ON t.ref = coalesce(r."window" #>> '{absence,of,trigger}', r.trigger_ref) WHERE r."window" ? 'absence'));
  DELETE FROM rule_change WHERE rule IN (SELECT id FROM old_rules);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER rules_inserted AFTER INSERT ON attune.rule REFERENCING NEW TABLE AS new_rules
  FOR EACH STATEMENT EXECUTE FUNCTION attune.rules_inserted();
--> statement-breakpoint
CREATE TRIGGER rules_updated AFTER UPDATE ON attune.rule REFERENCING OLD TABLE AS old_rules NEW TABLE AS new_rules
  FOR EACH STATEMENT EXECUTE FUNCTION attune.rules_updated();
--> statement-breakpoint
CREATE TRIGGER rules_deleted AFTER DELETE ON attune.rule REFERENCING OLD TABLE AS old_rules
  FOR EACH STATEMENT EXECUTE FUNCTION attune.rules_deleted();
