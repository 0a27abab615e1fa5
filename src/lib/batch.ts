/**
 * Joins concurrent calls: an item is passed to `run` at once if fewer than `lanes` calls are in flight; later items are passed together
 * to the next call, at most `size` of them. `run` returns one result for each item, in order; when it throws, each item of that call
 * rejects.
 */
export function createBatcher<Item, Result>(options: {
  run: (items: Item[]) => Promise<Result[]>;
  size: number;
  lanes: number;
}): (item: Item) => Promise<Result> {
  interface Waiting {
    item: Item;
    resolve: (result: Result) => void;
    reject: (error: unknown) => void;
  }
  const waiting: Waiting[] = [];
  let busy = 0;
  async function flush(): Promise<void> {
    busy += 1;
    while (waiting.length > 0) {
      const taken = waiting.splice(0, options.size);
      try {
        const results = await options.run(taken.map(({ item }) => item));
        for (const [index, { resolve, reject }] of taken.entries()) {
          const result = results[index];
          if (result === undefined) reject(new Error("the batch returned fewer results than it had items"));
          else resolve(result);
        }
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    busy -= 1;
  }
  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (busy < options.lanes) void flush();
    });
}
