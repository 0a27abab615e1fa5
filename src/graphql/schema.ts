import { DirectiveLocation, GraphQLDirective, GraphQLSchema } from "graphql";
import { costRule, describeCosts } from "./guards/limits.ts";
import { builder } from "./kit/builder.ts";
import "./catalog/action.ts";
import "./catalog/workflow-mutations.ts";
import "./catalog/workflow.ts";
import "./catalog/worker-mutations.ts";
import "./catalog/webhook-mutations.ts";
import "./catalog/trigger-mutations.ts";
import "./catalog/sensor-mutations.ts";
import "./catalog/sensor.ts";
import "./catalog/runtime-mutations.ts";
import "./event/record-mutations.ts";
import "./policy/policy-group.ts";
import "./policy/execution-slot.ts";
import "./policy/policy-changed.ts";
import "./policy/policy-mutations.ts";
import "./policy/queue-stats.ts";
import "./policy/policy.ts";
import "./catalog/pack-mutations.ts";
import "./catalog/action-mutations.ts";
import "./access/api-token-mutations.ts";
import "./access/api-token.ts";
import "./artifact/artifact.ts";
import "./artifact/artifact-mutations.ts";
import "./access/assignment-mutations.ts";
import "./access/audit-event.ts";
import "./rule/enforcement.ts";
import "./rule/enforcement-changed.ts";
import "./rule/kinds.ts";
import "./rule/lint.ts";
import "./event/event.ts";
import "./event/event-created.ts";
import "./event/explain.ts";
import "./execution/execution.ts";
import "./execution/liveness.ts";
import "./execution/execution-log.ts";
import "./execution/execution-mutations.ts";
import "./execution/execution-retries.ts";
import "./execution/execution-status.ts";
import "./execution/execution-tree.ts";
import "./execution/executions-changed.ts";
import "./access/identity-mutations.ts";
import "./access/identity.ts";
import "./inquiry/inquiry.ts";
import "./inquiry/inquiry-changed.ts";
import "./inquiry/inquiry-mutations.ts";
import "./access/key.ts";
import "./access/key-mutations.ts";
import "./kit/node.ts";
import "./notification/notification.ts";
import "./catalog/pack.ts";
import "./catalog/pack-changed.ts";
import "./catalog/sensor-changed.ts";
import "./catalog/sensor-log.ts";
import "./catalog/pack-history.ts";
import "./catalog/pack-install.ts";
import "./catalog/pack-install-progress.ts";
import "./catalog/pack-reload.ts";
import "./catalog/pack-search.ts";
import "./catalog/pack-test.ts";
import "./catalog/pack-test-mutations.ts";
import "./catalog/pack-test-progress.ts";
import "./access/permission-set-mutations.ts";
import "./access/permission-set.ts";
import "./retention/retention.ts";
import "./rule/next-ticks.ts";
import "./rule/rule.ts";
import "./rule/rule-mutations.ts";
import "./rule/revision.ts";

import "./rule/backtest.ts";
import "./rule/window.ts";

import "./rule/test-rule.ts";
import "./catalog/runtime.ts";
import "./access/sign-in.ts";
import "./execution/many-mutations.ts";
import "./execution/trace.ts";
import "./system/system-info.ts";
import "./catalog/trigger.ts";
import "./access/viewer.ts";
import "./catalog/worker.ts";
import "./catalog/worker-changed.ts";

const description = `Event-driven automation: triggers store events, rules match them and execute actions, and subscriptions send every change.

${costRule}`;

/** The API's schema; each file of a subject adds its part to the builder. */
export const schema = withKnownDirectives(describeCosts(builder.toSchema()));

/** The places of `@deprecated` in the GraphQL specification. Some clients refuse a schema with the newer place that graphql-js adds. */
function withKnownDirectives(built: GraphQLSchema): GraphQLSchema {
  const config = built.toConfig();
  const directives = config.directives.map((directive) =>
    directive.name === "deprecated"
      ? new GraphQLDirective({
          ...directive.toConfig(),
          locations: directive.locations.filter((location) => location !== DirectiveLocation.DIRECTIVE_DEFINITION),
        })
      : directive,
  );
  return new GraphQLSchema({ ...config, description, directives });
}
