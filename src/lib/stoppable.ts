/** Returns the async generator of `source`, whose `return()` also aborts the signal, so that it ends without finishing a wait. */
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
