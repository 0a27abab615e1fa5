import type { Context } from "../context.ts";
import { define, type Group } from "../define.ts";
import { Failure } from "../failure.ts";
import { cellOf } from "../table.ts";

interface Node {
  id: string;
  actionRef: string;
  status: string;
  /** The ids from its root to itself. */
  path: string[];
}

interface Page {
  execution:
    | (Node & { descendants: { nodes: Node[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } } })
    | null;
}

const fields = "id actionRef status path";
const document = `query($id: ID!, $after: String) { execution(id: $id) { ${fields}
  descendants(first: 100, maxDepth: 100, after: $after) { nodes { ${fields} } pageInfo { hasNextPage endCursor } } } }`;

/** Adds `execution tree`. */
export function addTree(commands: Group, example: string): void {
  define(commands, {
    name: "tree <id>",
    description: "show an execution with everything below it",
    examples: [`tree ${example}`],
    run: async (context, [id = ""]) => {
      const { top, below } = await read(context, id);
      if (context.options.output !== "table") return await context.printValue(nested(top, below));
      await context.write(lines(top, below, "", "").join(""));
    },
  });
}

async function read(context: Context, id: string): Promise<{ top: Node; below: Map<string, Node[]> }> {
  const below = new Map<string, Node[]>();
  let after: string | null = null;
  for (;;) {
    const page: Page = await context.ask<Page>(document, { id, after });
    if (!page.execution)
      throw new Failure(`There is no execution "${id}", or you may not read it.`, { code: "NOT_FOUND" });
    const { descendants, ...top } = page.execution;
    for (const node of descendants.nodes) {
      const parent = node.path.at(-2) ?? top.id;
      below.set(parent, [...(below.get(parent) ?? []), node]);
    }
    if (!descendants.pageInfo.hasNextPage) return { top, below };
    after = descendants.pageInfo.endCursor;
  }
}

function nested({ path: _path, ...node }: Node, below: Map<string, Node[]>): object {
  return { ...node, children: (below.get(node.id) ?? []).map((child) => nested(child, below)) };
}

function lines(node: Node, below: Map<string, Node[]>, head: string, indent: string): string[] {
  const children = (below.get(node.id) ?? []).toSorted((a, b) => a.path.length - b.path.length);
  return [
    `${head}${node.id}  ${node.status}  ${cellOf(node.actionRef)}\n`,
    ...children.flatMap((child, i) => {
      const last = i === children.length - 1;
      return lines(child, below, `${indent}${last ? "└─ " : "├─ "}`, `${indent}${last ? "   " : "│  "}`);
    }),
  ];
}
