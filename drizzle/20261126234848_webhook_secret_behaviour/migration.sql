-- The secret of a webhook moves from a key of its pack into the trigger's row. A key that a rule mentions is kept as well.
UPDATE attune.trigger t SET webhook_secret = k.value FROM attune.key k
  WHERE k.ref = t.webhook_config #>> '{hmac,key}' AND k.encrypted;
--> statement-breakpoint
DELETE FROM attune.key k USING attune.trigger t
  WHERE k.ref = t.webhook_config #>> '{hmac,key}' AND k.name LIKE 'webhook-%'
    AND NOT EXISTS (SELECT FROM attune.rule r WHERE position(k.ref IN r.action_params::text) > 0);
--> statement-breakpoint
-- What was not configured was GitHub's.
UPDATE attune.trigger SET webhook_config = webhook_config
    || jsonb_build_object('hmac', (webhook_config -> 'hmac') - 'key' || jsonb_build_object('scheme',
      CASE webhook_config #>> '{hmac,header}' WHEN 'x-hub-signature-256' THEN 'github' ELSE 'body' END))
    || CASE WHEN webhook_config #>> '{hmac,header}' <> 'x-hub-signature-256' AND webhook_config ->> 'delivery_header' = 'x-github-delivery'
      THEN '{"delivery_header": null}'::jsonb ELSE '{}'::jsonb END
  WHERE jsonb_typeof(webhook_config -> 'hmac') = 'object';
