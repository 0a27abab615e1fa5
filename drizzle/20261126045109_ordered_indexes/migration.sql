DROP INDEX "attune"."execution_enforcement_idx";--> statement-breakpoint
DROP INDEX "attune"."artifact_created_idx";--> statement-breakpoint
CREATE INDEX "artifact_created_idx" ON "attune"."artifact" ("created","id");--> statement-breakpoint
DROP INDEX "attune"."artifact_version_execution_idx";--> statement-breakpoint
CREATE INDEX "artifact_version_execution_idx" ON "attune"."artifact_version" ("execution","version","id") WHERE "execution" is not null;--> statement-breakpoint
DROP INDEX "attune"."audit_event_created_idx";--> statement-breakpoint
CREATE INDEX "audit_event_created_idx" ON "attune"."audit_event" ("created","id");--> statement-breakpoint
DROP INDEX "attune"."audit_event_actor_idx";--> statement-breakpoint
CREATE INDEX "audit_event_actor_idx" ON "attune"."audit_event" ("actor","created","id") WHERE "actor" is not null;--> statement-breakpoint
DROP INDEX "attune"."audit_event_resource_idx";--> statement-breakpoint
CREATE INDEX "audit_event_resource_idx" ON "attune"."audit_event" ("resource_type","created","id");--> statement-breakpoint
DROP INDEX "attune"."audit_event_request_id_idx";--> statement-breakpoint
CREATE INDEX "audit_event_request_id_idx" ON "attune"."audit_event" ("request_id","created","id");--> statement-breakpoint
DROP INDEX "attune"."enforcement_created_idx";--> statement-breakpoint
CREATE INDEX "enforcement_created_idx" ON "attune"."enforcement" ("created","id");--> statement-breakpoint
DROP INDEX "attune"."event_created_idx";--> statement-breakpoint
CREATE INDEX "event_created_idx" ON "attune"."event" ("created","id");--> statement-breakpoint
DROP INDEX "attune"."event_trigger_idx";--> statement-breakpoint
CREATE INDEX "event_trigger_idx" ON "attune"."event" ("trigger","created","id");--> statement-breakpoint
DROP INDEX "attune"."event_trigger_ref_idx";--> statement-breakpoint
CREATE INDEX "event_trigger_ref_idx" ON "attune"."event" ("trigger_ref","created","id");--> statement-breakpoint
DROP INDEX "attune"."event_source_idx";--> statement-breakpoint
CREATE INDEX "event_source_idx" ON "attune"."event" ("source","created","id") WHERE "source" is not null;--> statement-breakpoint
DROP INDEX "attune"."event_cause_execution_idx";--> statement-breakpoint
CREATE INDEX "event_cause_execution_idx" ON "attune"."event" ("cause_execution","created","id") WHERE "cause_execution" is not null;--> statement-breakpoint
DROP INDEX "attune"."event_trace_tag_idx";--> statement-breakpoint
CREATE INDEX "event_trace_tag_idx" ON "attune"."event" ("trace_tag","created","id");--> statement-breakpoint
DROP INDEX "attune"."rule_evaluation_rule_idx";--> statement-breakpoint
CREATE INDEX "rule_evaluation_rule_idx" ON "attune"."rule_evaluation" ("rule","created","id");--> statement-breakpoint
DROP INDEX "attune"."execution_enforcement_key";--> statement-breakpoint
CREATE UNIQUE INDEX "execution_enforcement_key" ON "attune"."execution" ("enforcement",(case when "depth" = 0 and "retry_count" = 0 then 0 else "id" end)) WHERE "enforcement" is not null;--> statement-breakpoint
DROP INDEX "attune"."execution_status_idx";--> statement-breakpoint
CREATE INDEX "execution_status_idx" ON "attune"."execution" ("status","created","id");--> statement-breakpoint
DROP INDEX "attune"."execution_created_idx";--> statement-breakpoint
CREATE INDEX "execution_created_idx" ON "attune"."execution" ("created","id");--> statement-breakpoint
DROP INDEX "attune"."execution_action_idx";--> statement-breakpoint
CREATE INDEX "execution_action_idx" ON "attune"."execution" ("action","created","id");--> statement-breakpoint
DROP INDEX "attune"."execution_action_ref_idx";--> statement-breakpoint
CREATE INDEX "execution_action_ref_idx" ON "attune"."execution" ("action_ref","created","id");--> statement-breakpoint
DROP INDEX "attune"."execution_trace_tag_idx";--> statement-breakpoint
CREATE INDEX "execution_trace_tag_idx" ON "attune"."execution" ("trace_tag","created","id");--> statement-breakpoint
DROP INDEX "attune"."execution_parent_idx";--> statement-breakpoint
CREATE INDEX "execution_parent_idx" ON "attune"."execution" ("parent","created","id") WHERE "parent" is not null;--> statement-breakpoint
DROP INDEX "attune"."execution_root_idx";--> statement-breakpoint
CREATE INDEX "execution_root_idx" ON "attune"."execution" ("root","created","id") WHERE "root" is not null;--> statement-breakpoint
DROP INDEX "attune"."execution_executor_idx";--> statement-breakpoint
CREATE INDEX "execution_executor_idx" ON "attune"."execution" ("executor","created","id") WHERE "executor" is not null;--> statement-breakpoint
DROP INDEX "attune"."execution_worker_idx";--> statement-breakpoint
CREATE INDEX "execution_worker_idx" ON "attune"."execution" ("worker","created","id") WHERE "worker" is not null;--> statement-breakpoint
DROP INDEX "attune"."inquiry_execution_idx";--> statement-breakpoint
CREATE INDEX "inquiry_execution_idx" ON "attune"."inquiry" ("execution","created","id") WHERE "execution" is not null;--> statement-breakpoint
DROP INDEX "attune"."inquiry_assigned_to_idx";--> statement-breakpoint
CREATE INDEX "inquiry_assigned_to_idx" ON "attune"."inquiry" ("assigned_to","created","id") WHERE "assigned_to" is not null;--> statement-breakpoint
DROP INDEX "attune"."inquiry_assigned_role_idx";--> statement-breakpoint
CREATE INDEX "inquiry_assigned_role_idx" ON "attune"."inquiry" ("assigned_role","created","id") WHERE "assigned_role" is not null;--> statement-breakpoint
DROP INDEX "attune"."inquiry_responded_by_idx";--> statement-breakpoint
CREATE INDEX "inquiry_responded_by_idx" ON "attune"."inquiry" ("responded_by","created","id") WHERE "responded_by" is not null;--> statement-breakpoint
DROP INDEX "attune"."inquiry_created_idx";--> statement-breakpoint
CREATE INDEX "inquiry_created_idx" ON "attune"."inquiry" ("created","id");--> statement-breakpoint
DROP INDEX "attune"."permission_assignment_permission_set_idx";--> statement-breakpoint
CREATE INDEX "permission_assignment_permission_set_idx" ON "attune"."permission_assignment" ("permission_set","created","id");--> statement-breakpoint
DROP INDEX "attune"."worker_name_idx";--> statement-breakpoint
CREATE INDEX "worker_name_idx" ON "attune"."worker" ("name","id");--> statement-breakpoint
DROP INDEX "attune"."execution_waits_for_idx";--> statement-breakpoint
CREATE INDEX "execution_waits_for_idx" ON "attune"."execution" ("waits_for","created","id") WHERE "waits_for" is not null;--> statement-breakpoint
CREATE INDEX "action_label_idx" ON "attune"."action" ("label","id");--> statement-breakpoint
CREATE INDEX "action_created_idx" ON "attune"."action" ("created","id");--> statement-breakpoint
CREATE INDEX "action_updated_idx" ON "attune"."action" ("updated","id");--> statement-breakpoint
CREATE INDEX "artifact_ref_idx" ON "attune"."artifact" ("ref","id");--> statement-breakpoint
CREATE INDEX "artifact_scope_idx" ON "attune"."artifact" ("scope","created","id");--> statement-breakpoint
CREATE INDEX "artifact_owner_idx" ON "attune"."artifact" ("owner","created","id");--> statement-breakpoint
CREATE INDEX "artifact_type_idx" ON "attune"."artifact" ("type","created","id");--> statement-breakpoint
CREATE INDEX "artifact_visibility_idx" ON "attune"."artifact" ("visibility","created","id");--> statement-breakpoint
CREATE INDEX "artifact_version_created_idx" ON "attune"."artifact_version" ("artifact","created","id");--> statement-breakpoint
CREATE INDEX "artifact_version_execution_created_idx" ON "attune"."artifact_version" ("execution","created","id") WHERE "execution" is not null;--> statement-breakpoint
CREATE INDEX "audit_event_category_idx" ON "attune"."audit_event" ("category","created","id");--> statement-breakpoint
CREATE INDEX "audit_event_event_type_idx" ON "attune"."audit_event" ("event_type","created","id");--> statement-breakpoint
CREATE INDEX "audit_event_outcome_idx" ON "attune"."audit_event" ("outcome","created","id");--> statement-breakpoint
CREATE INDEX "audit_event_actor_login_idx" ON "attune"."audit_event" ("actor_login","created","id");--> statement-breakpoint
CREATE INDEX "audit_event_resource_ref_idx" ON "attune"."audit_event" ("resource_ref","created","id");--> statement-breakpoint
CREATE INDEX "enforcement_rule_idx" ON "attune"."enforcement" ("rule","created","id");--> statement-breakpoint
CREATE INDEX "enforcement_rule_ref_idx" ON "attune"."enforcement" ("rule_ref","created","id");--> statement-breakpoint
CREATE INDEX "enforcement_pack_idx" ON "attune"."enforcement" (split_part("rule_ref", '.', 1),"created","id");--> statement-breakpoint
CREATE INDEX "enforcement_trigger_ref_idx" ON "attune"."enforcement" ("trigger_ref","created","id");--> statement-breakpoint
CREATE INDEX "enforcement_status_idx" ON "attune"."enforcement" ("status","created","id");--> statement-breakpoint
CREATE INDEX "event_pack_idx" ON "attune"."event" (split_part("trigger_ref", '.', 1),"created","id");--> statement-breakpoint
CREATE INDEX "event_source_ref_idx" ON "attune"."event" ("source_ref","created","id") WHERE "source_ref" is not null;--> statement-breakpoint
CREATE INDEX "execution_pack_idx" ON "attune"."execution" (split_part("action_ref", '.', 1),"created","id");--> statement-breakpoint
CREATE INDEX "execution_rule_ref_idx" ON "attune"."execution" ("rule_ref","created","id") WHERE "rule_ref" is not null;--> statement-breakpoint
CREATE INDEX "execution_trigger_ref_idx" ON "attune"."execution" ("trigger_ref","created","id") WHERE "trigger_ref" is not null;--> statement-breakpoint
CREATE INDEX "execution_waiting_deadline_idx" ON "attune"."execution" ("waits_for","deadline") WHERE "waits_for" is not null;--> statement-breakpoint
CREATE INDEX "identity_created_idx" ON "attune"."identity" ("created","id");--> statement-breakpoint
CREATE INDEX "identity_updated_idx" ON "attune"."identity" ("updated","id");--> statement-breakpoint
CREATE INDEX "inquiry_status_idx" ON "attune"."inquiry" ("status","created","id");--> statement-breakpoint
CREATE INDEX "key_name_idx" ON "attune"."key" ("name","id");--> statement-breakpoint
CREATE INDEX "key_created_idx" ON "attune"."key" ("created","id");--> statement-breakpoint
CREATE INDEX "key_updated_idx" ON "attune"."key" ("updated","id");--> statement-breakpoint
CREATE INDEX "pack_label_idx" ON "attune"."pack" ("label","id");--> statement-breakpoint
CREATE INDEX "pack_created_idx" ON "attune"."pack" ("created","id");--> statement-breakpoint
CREATE INDEX "pack_updated_idx" ON "attune"."pack" ("updated","id");--> statement-breakpoint
CREATE INDEX "permission_set_created_idx" ON "attune"."permission_set" ("created","id");--> statement-breakpoint
CREATE INDEX "permission_set_updated_idx" ON "attune"."permission_set" ("updated","id");--> statement-breakpoint
CREATE INDEX "policy_name_idx" ON "attune"."policy" ("name","id");--> statement-breakpoint
CREATE INDEX "policy_priority_idx" ON "attune"."policy" ("priority","id");--> statement-breakpoint
CREATE INDEX "policy_created_idx" ON "attune"."policy" ("created","id");--> statement-breakpoint
CREATE INDEX "policy_updated_idx" ON "attune"."policy" ("updated","id");--> statement-breakpoint
CREATE INDEX "rule_label_idx" ON "attune"."rule" ("label","id");--> statement-breakpoint
CREATE INDEX "rule_created_idx" ON "attune"."rule" ("created","id");--> statement-breakpoint
CREATE INDEX "rule_updated_idx" ON "attune"."rule" ("updated","id");--> statement-breakpoint
CREATE INDEX "runtime_name_idx" ON "attune"."runtime" ("name","id");--> statement-breakpoint
CREATE INDEX "runtime_created_idx" ON "attune"."runtime" ("created","id");--> statement-breakpoint
CREATE INDEX "runtime_updated_idx" ON "attune"."runtime" ("updated","id");--> statement-breakpoint
CREATE INDEX "sensor_label_idx" ON "attune"."sensor" ("label","id");--> statement-breakpoint
CREATE INDEX "sensor_created_idx" ON "attune"."sensor" ("created","id");--> statement-breakpoint
CREATE INDEX "sensor_updated_idx" ON "attune"."sensor" ("updated","id");--> statement-breakpoint
CREATE INDEX "token_created_idx" ON "attune"."token" ("created","id") WHERE "kind" = 'api';--> statement-breakpoint
CREATE INDEX "token_owner_idx" ON "attune"."token" ("identity","created","id") WHERE "kind" = 'api';--> statement-breakpoint
CREATE INDEX "trigger_label_idx" ON "attune"."trigger" ("label","id");--> statement-breakpoint
CREATE INDEX "trigger_created_idx" ON "attune"."trigger" ("created","id");--> statement-breakpoint
CREATE INDEX "trigger_updated_idx" ON "attune"."trigger" ("updated","id");--> statement-breakpoint
CREATE INDEX "worker_created_idx" ON "attune"."worker" ("created","id");--> statement-breakpoint
CREATE INDEX "workflow_definition_label_idx" ON "attune"."workflow_definition" ("label","id");--> statement-breakpoint
CREATE INDEX "workflow_definition_created_idx" ON "attune"."workflow_definition" ("created","id");--> statement-breakpoint
CREATE INDEX "workflow_definition_updated_idx" ON "attune"."workflow_definition" ("updated","id");