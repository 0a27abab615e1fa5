/** An async generator whose `return()` also aborts the wait that it may be in: otherwise it would end only after it. */
export function stoppable<T>(source: (signal: AbortSignal) => AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  const abort = new AbortController();
  const generator = source(abort.signal);
  const end = generator.return.bind(generator);
  return Object.assign(generator, {
    return: (value: undefined) => {
      abort.abort();
      return end(value);
    },
  });
}
