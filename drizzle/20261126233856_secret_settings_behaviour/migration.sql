-- What a pack's rules use of its settings, which compiled rules hold.
CREATE OR REPLACE TRIGGER pack_invalidate AFTER UPDATE ON attune.pack FOR EACH ROW
  WHEN ((old.config, old.secrets, old.conf_schema, old.active_release)
    IS DISTINCT FROM (new.config, new.secrets, new.conf_schema, new.active_release))
  EXECUTE FUNCTION attune.pack_invalidate();
