-- What a rule consists of: every column but its names, its times, and the ids, which follow from the refs. A new column belongs to it.
CREATE FUNCTION attune.rule_definition(rule attune.rule) RETURNS jsonb LANGUAGE sql IMMUTABLE
  SET search_path = attune, pg_temp AS $$
  SELECT to_jsonb(rule) - '{id,created,updated,ref,pack,pack_ref,action,trigger,is_adhoc,revision,owner}'::text[]
$$;
--> statement-breakpoint

-- A change of the definition or of the owner is a new revision.
CREATE OR REPLACE FUNCTION attune.rule_revise() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  new.updated := greatest(clock_timestamp(), old.updated + interval '1 millisecond');
  IF new.owner IS DISTINCT FROM old.owner OR rule_definition(new) IS DISTINCT FROM rule_definition(old) THEN
    new.revision := old.revision + 1;
  END IF;
  RETURN new;
END $$;
--> statement-breakpoint

-- Whatever a rule's row contains, revision included, is in its compiled form.
CREATE OR REPLACE TRIGGER rule_invalidate_update AFTER UPDATE ON attune.rule FOR EACH ROW
  WHEN (to_jsonb(old) - 'updated' IS DISTINCT FROM to_jsonb(new) - 'updated')
  EXECUTE FUNCTION attune.rule_invalidate();
--> statement-breakpoint

-- Of each rule the newest 1,000 revisions are kept.
CREATE FUNCTION attune.rule_keep_revision() RETURNS trigger LANGUAGE plpgsql SET search_path = attune, pg_temp AS $$
BEGIN
  INSERT INTO rule_revision (created, rule, number, definition, owner)
    VALUES (new.updated, new.id, new.revision, rule_definition(new), new.owner);
  DELETE FROM rule_revision WHERE rule = new.id AND number <= new.revision - 1000;
  RETURN null;
END $$;
--> statement-breakpoint
CREATE TRIGGER rule_keep_revision AFTER INSERT ON attune.rule
  FOR EACH ROW EXECUTE FUNCTION attune.rule_keep_revision();
--> statement-breakpoint
CREATE TRIGGER rule_keep_revision_update AFTER UPDATE ON attune.rule
  FOR EACH ROW WHEN (old.revision <> new.revision) EXECUTE FUNCTION attune.rule_keep_revision();
--> statement-breakpoint

INSERT INTO attune.rule_revision (created, rule, number, definition, owner)
  SELECT updated, id, revision, attune.rule_definition(r), owner FROM attune.rule r;
