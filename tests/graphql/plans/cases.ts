import { getColumns, sql } from "drizzle-orm";
import { getTableConfig, type PgColumn } from "drizzle-orm/pg-core";
import {
  type GraphQLEnumType,
  type GraphQLField,
  type GraphQLInputObjectType,
  type GraphQLObjectType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isObjectType,
} from "graphql";
import { type Db, rows } from "../../../src/db/client.ts";
import { tables } from "../../../src/db/tables.ts";
import { schema } from "../../../src/graphql/schema.ts";
import { samples, sizeOf } from "./rows.ts";

/** A list of the API: a root field, or a field of objects of a type. */
export interface List {
  /** `executions` or `Action.executions`. */
  name: string;
  /** The type of the object that it is a field of; null for a root field. */
  parent: string | null;
  field: string;
  /** The type of its items. */
  typename: string;
  where: GraphQLInputObjectType;
  order: GraphQLEnumType;
}

/** Returns the table of the type's objects. */
export function tableOf(typename: string): { name: string; columns: Record<string, PgColumn> } {
  const snake = typename.replaceAll(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
  const name = typename === "ApiToken" ? "token" : snake;
  const table = Object.values(tables).find((each) => getTableConfig(each).name === name);
  if (!table) throw new Error(`${typename} has no table`);
  return { name, columns: getColumns(table) };
}

/** Returns every list of the schema. */
export function findLists(): List[] {
  const query = schema.getQueryType();
  return Object.values(schema.getTypeMap())
    .filter((type): type is GraphQLObjectType => isObjectType(type))
    .flatMap((type) =>
      Object.values(type.getFields()).flatMap((field) => toList(type === query ? null : type.name, field)),
    );
}

function toList(parent: string | null, field: GraphQLField<unknown, unknown>): List[] {
  const connection = getNamedType(field.type);
  if (!isObjectType(connection) || !connection.name.endsWith("Connection")) return [];
  const argument = (name: string) => getNamedType(field.args.find((arg) => arg.name === name)?.type);
  const [where, orderBy] = [argument("where"), argument("orderBy")];
  const order = isInputObjectType(orderBy) ? getNamedType(orderBy.getFields()["field"]?.type) : null;
  if (!isInputObjectType(where) || !isEnumType(order)) throw new Error(`${field.name} is a connection of another kind`);
  const typename = connection.name.slice(0, -"Connection".length);
  return [{ name: parent ? `${parent}.${field.name}` : field.name, parent, field: field.name, typename, where, order }];
}

/** Returns a document that selects this of a list, as `list`; a list of an object is read from the object with the id `$id`. */
export function documentOf({ parent, field, where, order }: List, selection: string): string {
  const list = `list: ${field}(first: $first, after: $after, where: $where, orderBy: $orderBy) { ${selection} }`;
  const orderBy = order.name.slice(0, -"Field".length);
  const variables = `$first: Int, $after: String, $where: ${where.name}, $orderBy: ${orderBy}`;
  if (parent === null) return `query (${variables}) { ${list} }`;
  if (parent === "Viewer") return `query (${variables}) { viewer { ${list} } }`;
  return `query ($id: ID!, ${variables}) { node(id: $id) { ... on ${parent} { ${list} } } }`;
}

/** Returns the fields that the list can be filtered by, with the operators of each. */
export function filtersOf({ where }: List): { name: string; operators: string[] }[] {
  return Object.values(where.getFields()).flatMap(({ name, type }) => {
    const operators = getNamedType(type);
    if (["and", "or", "not"].includes(name) || !isInputObjectType(operators)) return [];
    return [{ name, operators: Object.keys(operators.getFields()) }];
  });
}

/** Filters whose column has another name than the filter, also with `Ref` or `Id` appended. */
const renamed: Readonly<Record<string, string>> = { cause: "causeExecutionId", at: "created" };
/** Types of ids that the filter's name does not show. */
const typenames: Readonly<Record<string, string>> = {
  ...{ parent: "Execution", root: "Execution", cause: "Execution" },
  ...{
    triggerId: "Trigger",
    ruleId: "Rule",
    owner: "Identity",
    executor: "Identity",
    actor: "Identity",
    assignedTo: "Identity",
    respondedBy: "Identity",
  },
};

/** Returns conditions on the filter by `eq`, `in` and ranges, for values of the oldest rows and of a third of the others. */
export async function conditionsOf(
  db: Db,
  list: List,
  { name, operators }: { name: string; operators: string[] },
): Promise<Record<string, unknown>[]> {
  const [old, common] = await valuesOf(db, list, name);
  if (old === undefined || common === undefined) throw new Error(`${list.name} by ${name}: no value to filter by`);
  return [
    ...(operators.includes("eq") ? [{ eq: old }, { eq: common }] : []),
    ...(operators.includes("in") ? [{ in: [old, common] }] : []),
    ...(operators.includes("gt") ? [{ gt: common }, { lt: common }, { gte: old, lte: common }] : []),
  ];
}

/** Returns the column that the filter is named after; null for one that is computed. */
export function columnOf({ typename }: List, filter: string): PgColumn | null {
  const { columns } = tableOf(typename);
  const key = [filter, renamed[filter], `${filter}Ref`, `${filter}Id`].find((each) => each && columns[each]);
  return columns[key ?? ""] ?? null;
}

/** Returns the type of the ids that the filter compares. */
export const typenameOf = ({ typename }: List, filter: string) =>
  filter === "id" ? typename : (typenames[filter] ?? upperFirst(filter));

async function valuesOf(db: Db, list: List, filter: string): Promise<unknown[]> {
  if (list.typename === "Execution" && filter === "pack") return samples.packs;
  const { name } = tableOf(list.typename);
  const type = getNamedType(list.where.getFields()[filter]?.type)?.name ?? "";
  const column = columnOf(list, filter);
  if (!column) return [];
  const at = [samples.oldRow, samples.commonRow(sizeOf(name))];
  const found = await rows<{ value: string }>(
    db,
    sql`select ${sql.identifier(column.name)}::text as value from attune.${sql.identifier(name)}
      where id in (${sql.raw(at.join(", "))}) order by id`,
  );
  return found.map(({ value }) => {
    if (type === "IDFilter") return btoa(`${typenameOf(list, filter)}:${value}`);
    if (type === "DateTimeFilter") return new Date(value).toISOString();
    if (type === "IntFilter") return Number(value);
    const values = schema.getType(type.slice(0, -"Filter".length));
    return isEnumType(values) ? values.getValues().find((each) => each.value === value)?.name : value;
  });
}

const upperFirst = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
