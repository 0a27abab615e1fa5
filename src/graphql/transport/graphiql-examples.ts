/** An operation in a tab of GraphiQL. */
export interface Example {
  name: string;
  query: string;
  variables: Readonly<Record<string, unknown>> | null;
}

/** Operations that run on a new server, in the order of a tour. */
export const examples: readonly Example[] = [
  {
    name: "Packs",
    variables: null,
    query: `# The first packs, each with its first actions. A longer page costs more: see \`extensions\` in the result.
query Packs {
  packs(first: 10) {
    totalCount { count precision }
    nodes {
      ref
      label
      version
      actions(first: 20) {
        totalCount { count precision }
        nodes { ref label description paramSchema }
      }
    }
  }
}
`,
  },
  {
    name: "ExecuteAction",
    variables: { message: "hello" },
    query: `# Execute an action. The mutation returns at once, with the execution scheduled.
mutation ExecuteAction($message: String!) {
  executeAction(input: {action: "core.echo", parameters: {message: $message}}) {
    __typename
    ... on ExecuteActionPayload { execution { id status } }
    ... on Error { code message }
    ... on InvalidInputError { issues { path message } }
  }
}
`,
  },
  {
    name: "ExecutionStatus",
    variables: null,
    query: `# Keep this running and execute an action in another tab.
# The pane shows only the newest message.
subscription ExecutionStatus {
  executionStatus {
    occurredAt
    executionId
    actionRef
    fromStatus
    toStatus
    reason
    cursor
  }
}
`,
  },
  {
    name: "CreateRule",
    variables: { ref: "default.every_minute" },
    query: `# A rule on a timer: core.echo once a minute. Refs are unique: to run this again, delete the rule or change the ref.
mutation CreateRule($ref: String!) {
  createRule(input: {
    ref: $ref
    label: "Say hello every minute"
    trigger: "core.intervaltimer"
    triggerParams: {unit: "minutes", interval: 1}
    action: "core.echo"
    actionParams: {message: "Tick number {{ event.payload.fire_count }}"}
  }) {
    __typename
    ... on CreateRulePayload { rule { id ref enabled timer { nextFireAt } } }
    ... on Error { code message }
    ... on InvalidInputError { issues { path message } }
  }
}
`,
  },
  {
    name: "Executions",
    variables: null,
    query: `# The latest executions, each with its status transitions.
query Executions {
  executions(first: 20, orderBy: {field: CREATED, direction: DESC}) {
    totalCount { count precision }
    nodes {
      id
      status
      actionRef
      ruleRef
      parameters
      result
      startedAt
      finishedAt
      transitions { nodes { fromStatus toStatus at reason } }
    }
  }
}
`,
  },
];
