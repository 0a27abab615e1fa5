const costPerValue = 5;

/** Returns the cost of a filter: 5 for each value in it, because each is a condition or a comparison for every row that is read. */
export function filterCost(where: unknown): number {
  let values = 0;
  const pending: unknown[] = [where];
  while (pending.length > 0) {
    const value = pending.pop();
    if (Array.isArray(value)) for (const item of value) pending.push(item);
    else if (typeof value === "object" && value !== null && !(value instanceof Date))
      pending.push(...Object.values(value));
    else if (value !== undefined && value !== null) values += 1;
  }
  return values * costPerValue;
}
