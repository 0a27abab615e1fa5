-- What a database of the release with the migration 20261121165458_ended_tokens holds after some use: rows of every table, and
-- work under way. Written through that release's own triggers, in several transactions. Secrets are sealed with the key of the tests.

-- Catalog -------------------------------------------------------------------------------------------------------------------
INSERT INTO attune.identity (login, display_name, password_hash, attributes, frozen) VALUES
  ('admin', 'Administrator', null, '{}', false),
  ('ops', 'Operator', '$argon2id$v=19$m=19456,t=2,p=1$oGKUez2k6nxlZ406vrCUFA$UASMfIzLqL753abUpsDP86MFn+LDYj/v1b1c/BTT45c', '{"team": "night"}', false),
  ('gone', 'Former colleague', null, '{}', true);
INSERT INTO attune.pack (ref, label, version, is_standard, config, tags) VALUES
  ('core', 'Core', '1.0.0', true, '{}', '{core}'), ('default', 'Default', '1.0.0', false, '{"region": "eu"}', '{}');
INSERT INTO attune.pack_release (pack, version, digest, manifest, path, size)
  SELECT id, '1.0.0', repeat('ab', 32), '{"pack": {"ref": "core"}}', '/released/packs/core', 20000 FROM attune.pack WHERE ref = 'core';
UPDATE attune.pack SET active_release = (SELECT id FROM attune.pack_release) WHERE ref = 'core';
INSERT INTO attune.runtime (ref, pack, pack_ref, runtime_type, name, distributions)
  SELECT 'core.' || kind || '.' || name, id, 'core', kind::attune.runtime_type, initcap(name), '{"commands": [], "min_version": null}'
  FROM attune.pack, unnest(array['action', 'sensor']) kind, unnest(array['builtin', 'shell']) name WHERE ref = 'core';
INSERT INTO attune.action (ref, pack, pack_ref, label, entrypoint, runtime, on_worker_loss)
  SELECT 'core.' || a.name, p.id, 'core', initcap(a.name), a.entrypoint, r.id, a.loss FROM attune.pack p,
    (VALUES ('noop', 'noop', 'builtin', 'requeue'), ('inquire', 'inquire', 'builtin', 'abandon'),
      ('echo', 'echo.sh', 'shell', 'requeue'), ('shell', 'shell.sh', 'shell', 'abandon')) a (name, entrypoint, runtime, loss)
    JOIN attune.runtime r ON r.ref = 'core.action.' || a.runtime WHERE p.ref = 'core';
INSERT INTO attune.action (ref, pack, pack_ref, label, entrypoint, runtime, is_adhoc, retry)
  SELECT 'default.own', p.id, 'default', 'Own', 'noop', r.id, true, '{"max_retries": 2}' FROM attune.pack p, attune.runtime r
  WHERE p.ref = 'default' AND r.ref = 'core.action.builtin';
INSERT INTO attune.sensor (ref, pack, pack_ref, label, entrypoint, runtime, runtime_ref, is_adhoc)
  SELECT 'default.watch', p.id, 'default', 'Watch', 'watch.sh', r.id, r.ref, true FROM attune.pack p, attune.runtime r
  WHERE p.ref = 'default' AND r.ref = 'core.sensor.shell';
INSERT INTO attune.trigger (ref, pack, pack_ref, label) SELECT 'core.intervaltimer', id, 'core', 'Interval timer' FROM attune.pack WHERE ref = 'core';
INSERT INTO attune.trigger (ref, pack, pack_ref, label, is_adhoc, webhook_enabled, webhook_key, webhook_config, sensor, sensor_ref)
  SELECT 'default.deploy', p.id, 'default', 'Deploy', true, true, 'released-webhook-key', '{"methods": ["POST"]}', s.id, s.ref
  FROM attune.pack p, attune.sensor s WHERE p.ref = 'default';
INSERT INTO attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, action_params, trigger_params, is_adhoc, owner)
  SELECT 'default.' || r.name, p.id, 'default', r.name, a.id, a.ref, t.id, t.ref, r.params::jsonb, r.timer::jsonb, true, i.id
  FROM (VALUES ('announce', 'core.echo', 'default.deploy', '{"message": "{{ event.payload.version }}"}', '{}'),
      ('count', 'core.noop', 'default.deploy', '{}', '{}'), ('hourly', 'core.noop', 'core.intervaltimer', '{}', '{"unit": "hours", "interval": 1}'))
    r (name, action, trigger, params, timer)
    JOIN attune.action a ON a.ref = r.action JOIN attune.trigger t ON t.ref = r.trigger, attune.pack p, attune.identity i
  WHERE p.ref = 'default' AND i.login = 'admin';
UPDATE attune.rule SET enabled = false WHERE ref = 'default.count';
UPDATE attune.rule SET enabled = true, label = 'Count deployments' WHERE ref = 'default.count';
INSERT INTO attune.timer (rule, kind, next_fire_at, last_fired_at, fire_count)
  SELECT id, 'interval:3600', now() - interval '1 second', now() - interval '1 hour', 7 FROM attune.rule WHERE ref = 'default.hourly';
INSERT INTO attune.policy (ref, pack, action, name, method, threshold) SELECT 'default.one', p.id, a.id, 'One at a time', 'enqueue', 1
  FROM attune.pack p, attune.action a WHERE p.ref = 'default' AND a.ref = 'default.own';
INSERT INTO attune.workflow_definition (ref, pack, pack_ref, label, version, definition)
  SELECT 'default.release', id, 'default', 'Release', '1.0.0', '{"tasks": []}' FROM attune.pack WHERE ref = 'default';

-- Access --------------------------------------------------------------------------------------------------------------------
INSERT INTO attune.permission_set (ref, pack, pack_ref, label, grants)
  SELECT 'core.admin', id, 'core', 'Administrator', '[{"actions": ["*"], "resource": "*"}]'::jsonb FROM attune.pack WHERE ref = 'core'
  UNION ALL SELECT 'default.night', id, 'default', 'Night shift', '[{"actions": ["read", "execute"], "resource": "action", "constraints": {"pack_refs": ["core"]}}]'
  FROM attune.pack WHERE ref = 'default';
INSERT INTO attune.permission_assignment (identity, permission_set) SELECT i.id, s.id FROM attune.identity i, attune.permission_set s
  WHERE i.login = 'admin' AND s.ref = 'core.admin';
INSERT INTO attune.identity_role (identity, role) SELECT id, 'on_call' FROM attune.identity WHERE login = 'ops';
INSERT INTO attune.permission_set_role (permission_set, role) SELECT id, 'on_call' FROM attune.permission_set WHERE ref = 'default.night';
INSERT INTO attune.token (kind, token_hash, identity, label, prefix, expires_at, revoked_at)
  SELECT t.kind, encode(sha256(convert_to(t.value, 'utf8')), 'hex'), i.id, t.label, 'att_api_rele', t.expires, t.revoked FROM attune.identity i,
    (VALUES ('api', 'att_api_' || repeat('r', 43), 'laptop', null::timestamptz, null::timestamptz),
      ('api', 'att_api_revoked', 'lost laptop', null, now() - interval '3 days'),
      ('session', 'att_session_open', null, now() + interval '1 day', null)) t (kind, value, label, expires, revoked)
  WHERE i.login = 'admin';
INSERT INTO attune.key (ref, owner_type, owner, owner_pack, owner_identity, name, encrypted, encryption_key_hash, value)
  SELECT '', 'system'::attune.owner_type, '', null::bigint, null::bigint, 'database', true, '425ed4e4a36b30ea',
    'v1:425ed4e4a36b30ea:HTbnH5YJsXRW9QlD:cGJyogqWBMnqEa3nq/Wbgw==:emhx+pJnmqMrinH/KhlZA/6+hXFGl/dDusf4dY252g=='
  UNION ALL SELECT '', 'pack', '', id, null, 'region', false, null, 'eu-central' FROM attune.pack WHERE ref = 'default'
  UNION ALL SELECT '', 'identity', '', null, id, 'motto', false, null, 'sleep' FROM attune.identity WHERE login = 'ops';
INSERT INTO attune.audit_event (category, event_type, outcome, actor, actor_login, actor_kind, ip, request_id, resource_type, resource_ref, details)
  SELECT 'mutation', 'rule.create', 'success', id, 'admin', 'api', '127.0.0.1', 'r1', 'rule', 'default.announce', '{"a": 1}' FROM attune.identity WHERE login = 'admin';
INSERT INTO attune.idempotency_key (identity, key, operation, input_hash, entity_type, entity)
  SELECT i.id, 'k1', 'createRule', repeat('cd', 32), 'rule', r.id FROM attune.identity i, attune.rule r WHERE i.login = 'admin' AND r.ref = 'default.announce';

-- Events: one that has been evaluated, one that waits with its job, one that lost its job ---------------------------------------
INSERT INTO attune.event (created, trigger, trigger_ref, payload, trace_tag, evaluated_at)
  SELECT now() - interval '1 minute', id, ref, jsonb_build_object('version', 'v' || n), 'deploy' || n, CASE n WHEN 1 THEN now() END
  FROM attune.trigger, generate_series(1, 3) n WHERE ref = 'default.deploy' ORDER BY n;
INSERT INTO attune.webhook_delivery (trigger, event, source_ip, headers, status_code, duration_ms, size, delivery_id)
  SELECT trigger, id, '192.0.2.1', '{"content-type": "application/json"}', 202, 4, 20, 'd1' FROM attune.event WHERE trace_tag = 'deploy1';
INSERT INTO attune.enforcement (rule, rule_ref, trigger_ref, event, payload)
  SELECT r.id, r.ref, r.trigger_ref, e.id, e.payload FROM attune.rule r, attune.event e WHERE r.ref = 'default.announce' AND e.trace_tag = 'deploy1';
UPDATE attune.enforcement SET status = 'processed', resolved_at = now();
INSERT INTO attune.rule_evaluation (event, rule, rule_revision, matched, detail)
  SELECT e.id, r.id, r.revision, false, '[{"field": "version"}]' FROM attune.event e, attune.rule r WHERE e.trace_tag = 'deploy1' AND r.ref = 'default.count';

-- Executions: ended ones, and under way: scheduled, running on a worker that is gone, waiting for an answer -------------------------
INSERT INTO attune.worker (name, worker_type, host, status, capabilities, last_heartbeat)
  VALUES ('released', 'local', 'elsewhere', 'active', '{"slots": 4, "runtimes": {"core.action.builtin": {}}}', now() - interval '10 minutes');
INSERT INTO attune.execution (created, updated, action, action_ref, status, scheduled_at, config, on_worker_loss, trace_tag, executor,
    timeout_seconds, pack_release)
  SELECT now() - interval '1 minute', now() - interval '1 minute', a.id, a.ref, 'scheduled', now() - interval '1 minute', x.config::jsonb, x.loss, x.tag, i.id,
    3600, r.id
  FROM (VALUES (1, 'core.noop', '{}', 'requeue', 'completed'), (2, 'core.noop', '{}', 'requeue', 'queued'), (3, 'core.noop', '{}', 'requeue', 'without job'),
      (4, 'core.echo', '{"message": "[secret:db]"}', 'requeue', 'secret'), (5, 'core.noop', '{}', 'requeue', 'requeued'),
      (6, 'core.shell', '{"command": "sleep 60"}', 'abandon', 'abandoned'), (7, 'core.shell', '{"command": "sleep 60"}', 'abandon', 'cancelled'),
      (8, 'core.inquire', '{"prompt": "Go on?"}', 'abandon', 'waiting'), (9, 'core.noop', '{}', 'abandon', 'failed')) x (n, action, config, loss, tag)
    JOIN attune.action a ON a.ref = x.action, attune.identity i, attune.pack_release r WHERE i.login = 'admin' ORDER BY n;
INSERT INTO attune.execution_secret (execution, path, source, encrypted) SELECT id, '/message', 'key:system.db',
  'v1:425ed4e4a36b30ea:v3XdF6euAtx1YMQE:E2bQqfAzPmUE+kgL754oUA==:gQed6EpgKkgkGzzmXUWXaIn/E8ZZeQ9+Srdz55rHQEGg0loT9GhBE900ILjyATwMHiSL3JNWpmlwdbHw2y9KVjRaDhUd9SAwQhF2gw=='
  FROM attune.execution WHERE trace_tag = 'secret';
UPDATE attune.execution e SET status = 'running', worker = w.id, worker_name = w.name, attempt = 1, started_at = now(), deadline = now() + interval '1 hour'
  FROM attune.worker w WHERE trace_tag IN ('completed', 'requeued', 'abandoned', 'cancelled', 'waiting', 'failed');
UPDATE attune.execution SET status = 'completed', finished_at = now(), result = '{"data": null, "exit_code": 0}' WHERE trace_tag = 'completed';
UPDATE attune.execution SET status = 'failed', finished_at = now(), error = '{"code": "EXIT", "message": "it exited with 1"}', reason = 'it exited with 1'
  WHERE trace_tag = 'failed';
UPDATE attune.execution SET status = 'canceling', cancel_requested_at = now(), cancel_requested_by = executor WHERE trace_tag = 'cancelled';
UPDATE attune.execution SET worker = null, worker_name = null, reason = 'waits for an answer' WHERE trace_tag = 'waiting';
INSERT INTO attune.inquiry (execution, prompt, assigned_to, timeout_at)
  SELECT e.id, 'Go on?', i.id, now() + interval '1 day' FROM attune.execution e, attune.identity i WHERE e.trace_tag = 'waiting' AND i.login = 'admin';
INSERT INTO attune.execution (action, action_ref, status, scheduled_at, finished_at, on_worker_loss, trace_tag, parent, root, depth, enforcement)
  SELECT p.action, p.action_ref, 'cancelled', now(), now(), 'requeue', 'part', p.id, p.id, 1, f.id FROM attune.execution p, attune.enforcement f WHERE p.trace_tag = 'completed';
INSERT INTO attune.execution_log (execution, seq, stream, at, text) SELECT id, n, 'stdout', now(), 'line ' || n FROM attune.execution, generate_series(1, 3) n
  WHERE trace_tag = 'completed';
INSERT INTO attune.token (kind, token_hash, execution, identity, permission_set_refs)
  SELECT 'execution', repeat('ef', 32), id, executor, '{core.admin}' FROM attune.execution WHERE trace_tag = 'requeued';
INSERT INTO attune.artifact (ref, type, name, content_type, size, retention_limit) VALUES ('report', 'file_text', 'Report', 'text/plain', 5, 5);
INSERT INTO attune.artifact_version (artifact, version, execution, content_type, size, sha256, content)
  SELECT a.id, 1, e.id, 'text/plain', 5, encode(sha256('hello'), 'hex'), 'hello' FROM attune.artifact a, attune.execution e WHERE e.trace_tag = 'completed';

-- The log: retention has removed the oldest entries, and the release knows which database it is in -------------------------------
UPDATE attune.notification_epoch SET epoch = 1795251234, (pruned_xid, pruned_id) = (SELECT xid, id FROM attune.notification ORDER BY xid, id OFFSET 4 LIMIT 1),
  database = (SELECT d.oid || '@' || c.system_identifier FROM pg_database d, pg_control_system() c WHERE d.datname = current_database());
DELETE FROM attune.notification n USING attune.notification_epoch e WHERE (n.xid, n.id) <= (e.pruned_xid, e.pruned_id);

-- A secret setting in clear --------------------------------------------------------------------------------------------------
INSERT INTO attune.pack (ref, label, version, conf_schema, config) VALUES
  ('vault', 'Vault', '1.0.0', '{"token": {"type": "string", "secret": true}, "region": {"type": "string"}}',
    '{"token": "a token of the release", "region": "eu"}');
INSERT INTO attune.pack_release (pack, version, digest, manifest, path, size)
  SELECT id, '1.0.0', repeat('cd', 32), jsonb_build_object('pack', jsonb_build_object('ref', ref, 'conf_schema', conf_schema, 'config', config)),
    '/nowhere', 100 FROM attune.pack WHERE ref = 'vault';

-- Two webhooks whose secret is one key of their pack ---------------------------------------------------------------------------
INSERT INTO attune.key (ref, owner_type, owner, owner_pack, name, encrypted, encryption_key_hash, value)
  SELECT '', 'pack', '', p.id, 'webhook-shared', true, k.encryption_key_hash, k.value FROM attune.pack p, attune.key k
  WHERE p.ref = 'vault' AND k.ref = 'system.database';
INSERT INTO attune.trigger (ref, pack, pack_ref, label, is_adhoc, webhook_enabled, webhook_key, webhook_config)
  SELECT 'vault.' || w.name, p.id, 'vault', w.name, true, true, 'vault-' || w.name, jsonb_build_object('max_bytes', 1000,
    'delivery_header', 'x-github-delivery', 'hmac', jsonb_build_object('key', 'pack.vault.webhook-shared', 'algorithm', 'sha256',
      'header', w.header, 'prefix', 'sha256='))
  FROM attune.pack p, (VALUES ('github', 'x-hub-signature-256'), ('own', 'x-own')) w (name, header) WHERE p.ref = 'vault';
