import { type Db, rowsOfText } from "../../../src/db/client.ts";
import { sizeOf } from "./rows.ts";

/** A node of a plan, as EXPLAIN prints it. */
interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Name"?: string;
  "Actual Rows": number;
  "Actual Loops": number;
  "Rows Removed by Filter"?: number;
  "Rows Removed by Index Recheck"?: number;
  Plans?: PlanNode[];
}

/** The work of a statement on the generated tables. */
export interface Cost {
  /** Tables that were read completely. */
  scanned: string[];
  /** Rows that were read, whether or not they were used. */
  read: number;
  /** The rows of the largest sort. */
  sorted: number;
}

/** Runs the statement with EXPLAIN and returns its cost. */
export async function explain(db: Db, text: string, params: unknown[]): Promise<Cost> {
  const [row] = (await rowsOfText(db, `explain (analyze, timing off, summary off, format json) ${text}`, params)) as [
    Record<string, [{ Plan: PlanNode }]>,
  ];
  const plan = Object.values(row)[0]?.[0].Plan;
  if (!plan) throw new Error(`no plan of ${text}`);
  return costOf(plan);
}

function costOf(node: PlanNode): Cost {
  const below = (node.Plans ?? []).map(costOf);
  const table = node["Relation Name"] ?? "";
  const isScan = sizeOf(table) > 0;
  const touched =
    node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0);
  const input = (node.Plans ?? []).map((plan) => plan["Actual Rows"]);
  return {
    scanned: [
      ...(isScan && node["Node Type"] === "Seq Scan" ? [table] : []),
      ...below.flatMap(({ scanned }) => scanned),
    ],
    read: (isScan ? touched * node["Actual Loops"] : 0) + below.reduce((sum, { read }) => sum + read, 0),
    sorted: Math.max(node["Node Type"] === "Sort" ? Math.max(...input) : 0, ...below.map(({ sorted }) => sorted)),
  };
}
