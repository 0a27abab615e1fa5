import { sql } from "drizzle-orm";
import type { Session } from "../../../src/access/session.ts";
import { runtimeQueue } from "../../../src/db/jobs.ts";
import { createPerson } from "../../support/api.ts";
import type { TestServices } from "../../support/database.ts";

/** Every text of every row that the session may not read contains it. */
export const marker = "hiddenmarker";

/** Inserts three rows of each entity in a pack, related to one identity and to each other. */
const inserts = [
  `insert into attune.pack (ref, label, description, version, config, meta) values ('P', 'P', 'P', '1.0.0', '{"k": "P"}', '{"k": "P"}')`,
  `insert into attune.pack_test_execution (pack_id, pack_version, trigger_reason, total_tests, passed, failed, skipped, pass_rate, duration_ms, result) select p, 'P', 'manual', 1, 1, 0, 0, 1, 1, '{"k": "P"}' from n`,
  `insert into attune.runtime (ref, pack, pack_ref, runtime_type, name, description, distributions) select 'P.action.item' || n, p, 'P', 'action', 'item' || n, 'P', '{"k": "P"}' from n`,
  `insert into attune.sensor (ref, pack, pack_ref, label, description, entrypoint, runtime, runtime_ref, config) select 'P.item' || n, p, 'P', 'P', 'P', 'P', (select min(id) from attune.runtime where pack_ref = 'P'), 'P.action.item1', '{"k": "P"}' from n`,
  `insert into attune.sensor_process (sensor, host, last_error) select id, 'P', 'P' from attune.sensor where pack_ref = 'P'`,
  `insert into attune.trigger (ref, pack, pack_ref, label, description, out_schema) select 'P.item' || n, p, 'P', 'P', 'P', null from n`,
  `insert into attune.action (ref, pack, pack_ref, label, description, entrypoint, runtime) select 'P.item' || n, p, 'P', 'P', 'P', 'P', (select min(id) from attune.runtime where pack_ref = 'P') from n`,
  `insert into attune.workflow_definition (ref, pack, pack_ref, label, description, version, definition) select 'P.item' || n, p, 'P', 'P', 'P', '1', '{"k": "P"}' from n`,
  `insert into attune.policy (ref, pack, name, description, method, threshold) select 'P.item' || n, p, 'item' || n, 'P', 'cancel', 1 from n`,
  `insert into attune.permission_set (ref, pack, pack_ref, label, description, grants) select 'P.item' || n, p, 'P', 'P', 'P', '[{"resource": "pack", "actions": ["read"], "constraints": {"refs": ["P"]}}]' from n`,
  `insert into attune.permission_set_role (permission_set, role) select id, 'P' from attune.permission_set where pack_ref = 'P'`,
  `insert into attune.permission_assignment (identity, permission_set) select i, id from attune.permission_set, n where pack_ref = 'P' and n = 1`,
  `insert into attune.rule (ref, pack, pack_ref, label, description, action, action_ref, trigger, trigger_ref, owner, action_params) select 'P.item' || n, p, 'P', 'P', 'P', (select id from attune.action where ref = 'P.item' || n), 'P.item' || n, (select id from attune.trigger where ref = 'P.item' || n), 'P.item' || n, i, '{"k": "P"}' from n`,
  `insert into attune.event (trigger, trigger_ref, payload, trace_tag, evaluated_at) select t.id, t.ref, '{"k": "P"}', 'P', now() from attune.trigger t where pack_ref = 'P'`,
  `insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail) select e.id, r.id, 1, true, '[{"k": "P"}]' from attune.event e join attune.rule r on r.trigger = e.trigger where r.pack_ref = 'P'`,
  `insert into attune.enforcement (rule, rule_ref, trigger_ref, event, config) select r.id, r.ref, r.trigger_ref, e.id, '{"k": "P"}' from attune.event e join attune.rule r on r.trigger = e.trigger where r.pack_ref = 'P'`,
  `insert into attune.worker (name, worker_type, host, capabilities) select 'P', 'local', 'P', '{"k": "P"}' from n`,
  `insert into attune.execution (action, action_ref, rule_ref, trigger_ref, enforcement, executor, worker, config, on_worker_loss, trace_tag, reason) select r.action, r.action_ref, r.ref, r.trigger_ref, f.id, i, (select min(id) from attune.worker where name = 'P'), '{"message": "P"}', 'abandon', 'P', 'P' from attune.rule r join attune.enforcement f on f.rule = r.id, n where r.pack_ref = 'P' and n = 1`,
  `insert into attune.policy_group (policy, key) select id, '["P"]' from attune.policy where description = 'P'`,
  `insert into attune.policy_slot (policy_group, execution, state) select g.id, e.id, 'waiting' from attune.execution e, (select min(id) as id from attune.policy_group where key = '["P"]') g where e.trace_tag = 'P'`,
  `insert into attune.execution_log (execution, seq, stream, at, text) select id, 1, 'stdout', now(), 'P' from attune.execution where trace_tag = 'P'`,
  `insert into attune.inquiry (execution, prompt, assigned_to, response_schema, default_response) select id, 'P', i, '{"k": {"type": "string", "description": "P"}}', '{"k": "P"}' from attune.execution, n where trace_tag = 'P' and n = 1`,
  `insert into attune.token (kind, token_hash, identity, label, prefix) select 'api', 'P' || n, i, 'P', 'P' from n`,
  `insert into attune.key (owner_type, owner_identity, name, label, encrypted, value) select 'identity', i, 'item' || n, 'P', false, 'P' from n`
    .replace(", label", "")
    .replace(", 'P', false", ", false"),
  `insert into attune.artifact (ref, scope, owner, type, name, description, data) select 'P' || n, 'identity', 'P', 'progress', 'P', 'P', '[{"message": "P"}]' from n`,
  `insert into attune.artifact_version (artifact, version, size, sha256, content) select id, 1, 1, repeat('0', 64), 'P' from attune.artifact where owner = 'P'`,
  `insert into attune.audit_event (category, event_type, outcome, actor, actor_login, request_id, resource_type, resource_ref, details) select 'mutation', 'P', 'success', i, 'P', 'P', 'P', 'P', '{"k": "P"}' from n`,
];

async function sow(services: TestServices, pack: string, identity: Session): Promise<void> {
  for (const insert of inserts) {
    const numbers = `n as (select n, (select id from attune.pack where ref = '${pack}') as p, ${identity.identityId}::bigint as i from generate_series(1, 3) n)`;
    const text = insert
      .replaceAll("'P", `'${pack}`)
      .replaceAll('"P"', `"${pack}"`)
      .replaceAll(/'P(?=\.)/g, `'${pack}`);
    const at = text.indexOf(" select ");
    await services.db.execute(sql.raw(at < 0 ? text : `${text.slice(0, at)} with ${numbers}${text.slice(at)}`));
  }
}

/**
 * Inserts an open pack and a similar hidden one, related to each other. Returns a session that has every permission on the open one and
 * on its own rows, and no other.
 */
export async function seedBoth(services: TestServices): Promise<Session> {
  const session = await createPerson(services, "open", {
    grants: [
      { resource: "*", actions: ["*"], constraints: { pack_refs: ["open"] } },
      { resource: "*", actions: ["*"], constraints: { owner: "self" } },
    ],
  });
  const other = await createPerson(services, marker);
  await sow(services, "open", session);
  await sow(services, marker, other);
  // As a server's start does: no transaction may be the first to use a queue.
  for (const { ref } of await services.db.query.runtimes.findMany({ columns: { ref: true } })) {
    await services.jobs.open(runtimeQueue(ref));
  }
  for (const [from, to] of [
    ["open", marker],
    [marker, "open"],
  ] as const) {
    for (const link of [
      `update attune.execution set parent = t.id, root = t.id, depth = 1, worker = null from (select min(id) as id from attune.execution where trace_tag = '${to}') t where trace_tag = '${from}' and execution.id > (select min(id) from attune.execution where trace_tag = '${from}')`,
      `update attune.event set cause_execution = t.id from (select min(id) as id from attune.execution where trace_tag = '${to}') t where trace_tag = '${from}'`,
    ]) {
      await services.db.execute(sql.raw(link));
    }
  }
  return session;
}
