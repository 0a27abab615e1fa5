CREATE TRIGGER rule_window_touch BEFORE UPDATE ON attune.rule_window FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint
CREATE TRIGGER rule_budget_touch BEFORE UPDATE ON attune.rule_budget FOR EACH ROW EXECUTE FUNCTION attune.touch();
--> statement-breakpoint

-- The trigger whose events answer those of the rule.
CREATE FUNCTION attune.answer_trigger(rule attune.rule) RETURNS text LANGUAGE sql IMMUTABLE
  SET search_path = attune, pg_temp AS $$
  SELECT CASE WHEN rule."window" ? 'absence' THEN coalesce(rule."window" #>> '{absence,of,trigger}', rule.trigger_ref) END
$$;
--> statement-breakpoint

-- A rule whose window waits for other events belongs to what their trigger's events are evaluated by.
CREATE FUNCTION attune.answer_invalidate() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  PERFORM rules_raise(ARRAY(SELECT id FROM trigger
    WHERE ref IN (CASE WHEN tg_op <> 'INSERT' THEN answer_trigger(old) END, CASE WHEN tg_op <> 'DELETE' THEN answer_trigger(new) END)));
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER answer_invalidate AFTER INSERT ON attune.rule FOR EACH ROW
  WHEN (new."window" ? 'absence') EXECUTE FUNCTION attune.answer_invalidate();
--> statement-breakpoint
CREATE TRIGGER answer_invalidate_update AFTER UPDATE ON attune.rule FOR EACH ROW
  WHEN ((old."window" ? 'absence' OR new."window" ? 'absence') AND to_jsonb(old) - 'updated' IS DISTINCT FROM to_jsonb(new) - 'updated')
  EXECUTE FUNCTION attune.answer_invalidate();
--> statement-breakpoint
CREATE TRIGGER answer_invalidate_delete AFTER DELETE ON attune.rule FOR EACH ROW
  WHEN (old."window" ? 'absence') EXECUTE FUNCTION attune.answer_invalidate();
--> statement-breakpoint

-- What a window knows belongs to this window, of these events, of a rule that evaluates them.
CREATE FUNCTION attune.rule_forget() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  IF new.enabled < old.enabled OR new."window" IS DISTINCT FROM old."window" OR new.trigger_ref <> old.trigger_ref THEN
    DELETE FROM rule_window WHERE rule = new.id;
  END IF;
  IF new.enabled <> old.enabled OR new.max_starts IS DISTINCT FROM old.max_starts THEN
    DELETE FROM rule_budget WHERE rule = new.id;
  END IF;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER rule_forget AFTER UPDATE ON attune.rule FOR EACH ROW
  WHEN (old.enabled <> new.enabled OR old."window" IS DISTINCT FROM new."window" OR old.trigger_ref <> new.trigger_ref
    OR old.max_starts IS DISTINCT FROM new.max_starts)
  EXECUTE FUNCTION attune.rule_forget();
--> statement-breakpoint

-- The notification log has an entry of the rule when it trips and when that ends.
CREATE FUNCTION attune.rule_budget_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO notification (channel, entity_type, entity, activity, content, pack_ref)
    SELECT 'rule', 'rule', r.id, 'updated', jsonb_build_object('ref', r.ref, 'enabled', r.enabled), r.pack_ref
    FROM rule r WHERE r.id = coalesce(new.rule, old.rule);
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER rule_budget_notify AFTER UPDATE ON attune.rule_budget FOR EACH ROW
  WHEN (old.tripped_at IS DISTINCT FROM new.tripped_at) EXECUTE FUNCTION attune.rule_budget_notify();
--> statement-breakpoint
CREATE TRIGGER rule_budget_notify_insert AFTER INSERT ON attune.rule_budget FOR EACH ROW
  WHEN (new.tripped_at IS NOT NULL) EXECUTE FUNCTION attune.rule_budget_notify();
--> statement-breakpoint
CREATE TRIGGER rule_budget_notify_delete AFTER DELETE ON attune.rule_budget FOR EACH ROW
  WHEN (old.tripped_at IS NOT NULL) EXECUTE FUNCTION attune.rule_budget_notify();
