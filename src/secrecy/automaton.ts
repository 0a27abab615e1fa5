/** The patterns of one encoding, each with the name of its secret. */
export interface Patterns {
  patterns: ReadonlyMap<string, string>;
  /** Maps a character code to the one that is compared, to ignore case or alphabets. */
  fold: (code: number) => number;
  /** Characters that may occur within a pattern, at most two in a row: line breaks and spaces that encoders insert. */
  skips: readonly number[];
}

/** Finds all patterns of one encoding in one pass. */
export interface Automaton {
  /** Begins a search; `found` is called with the start and the exclusive end of each match, in the positions of `read`. */
  search(found: (from: number, to: number, name: string) => void): Search;
}

export interface Search {
  /** Continues with a piece of text, whose first character is at `at`. */
  read(piece: string, at: number): void;
  /** Returns the position before which no further match can begin. */
  undecided(): number;
  reset(): void;
}

const maxSkipped = 2;
const ascii = 128;
/** All skipped characters have lower codes. */
const aboveSkips = 64;

/** A node of the trie is a number; 0 is the root, and also means no node. */
interface Trie {
  /** The first child, the next sibling, and the character on the edge from the parent. */
  child: Int32Array;
  sibling: Int32Array;
  code: Int32Array;
  depth: Int32Array;
  /** The node of the longest proper suffix, and the nearest node on that path at which a pattern ends. */
  fail: Int32Array;
  output: Int32Array;
  /** The secret whose pattern ends here. */
  name: (string | null)[];
  /** The root's children by ASCII code: one lookup rules out most characters of a text. */
  first: Int32Array;
}

/**
 * Compiles the automaton of Aho and Corasick (Efficient string matching: an aid to bibliographic search, CACM 18, 1975): it reads each
 * character once, regardless of the number of patterns. The depth of the current node is the length of the longest suffix of the text
 * that begins a pattern, which is exactly what must be held back.
 */
export function compileAutomaton({ patterns, fold, skips }: Patterns): Automaton {
  const trie = link(plant(patterns, fold));
  const folded = Int32Array.from({ length: ascii }, (_, code) => fold(code));
  const longest = trie.depth.reduce((a, b) => Math.max(a, b), 0);
  const mask = 2 ** Math.ceil(Math.log2(longest + 1)) - 1;
  const skipped = new Set(skips);

  return {
    search: (found) => {
      // The positions of the last characters that were not skipped, to find a match's beginning by its length.
      const positions = new Float64Array(mask + 1);
      let count = 0;
      let node = 0;
      let between = 0;
      let end = 0;
      const beginOf = (depth: number) => positions[(count - depth) & mask] ?? 0;
      const report = (from: number, position: number): void => {
        for (let hit = from; hit !== 0; hit = at(trie.output, hit)) {
          const name = trie.name[hit];
          if (name !== null && name !== undefined) found(beginOf(at(trie.depth, hit)), position + 1, name);
        }
      };
      /** Returns whether the character is skipped within a pattern. */
      const passes = (raw: number): boolean => {
        if (node === 0 || !skipped.has(raw)) return false;
        between += 1;
        if (between > maxSkipped) node = 0;
        return between <= maxSkipped;
      };
      const take = (code: number, position: number): void => {
        between = 0;
        node = step(trie, node, code);
        if (node === 0) return;
        positions[count & mask] = position;
        count += 1;
        report(node, position);
        // At a leaf no longer match is possible, so only a shorter suffix is undecided.
        while (node !== 0 && at(trie.child, node) === 0) node = at(trie.fail, node);
      };
      return {
        read: (piece, start) => {
          for (let index = 0; index < piece.length; index += 1) {
            const raw = piece.charCodeAt(index);
            const code = raw < ascii ? at(folded, raw) : fold(raw);
            if (node === 0 && code < ascii && at(trie.first, code) === 0) continue;
            if (raw >= aboveSkips || !passes(raw)) take(code, start + index);
          }
          end = start + piece.length;
        },
        undecided: () => (node === 0 ? end : beginOf(at(trie.depth, node))),
        reset: () => {
          count = 0;
          node = 0;
          between = 0;
          end = 0;
        },
      };
    },
  };
}

const at = (list: Int32Array, index: number): number => list[index] ?? 0;

function childBy(trie: Trie, node: number, code: number): number {
  if (node === 0 && code < ascii) return at(trie.first, code);
  let child = at(trie.child, node);
  while (child !== 0 && at(trie.code, child) !== code) child = at(trie.sibling, child);
  return child;
}

function step(trie: Trie, from: number, code: number): number {
  for (let node = from; ; node = at(trie.fail, node)) {
    const child = childBy(trie, node, code);
    if (child !== 0 || node === 0) return child;
  }
}

function plant(patterns: ReadonlyMap<string, string>, fold: (code: number) => number): Trie {
  const most = patterns.keys().reduce((sum, text) => sum + text.length, 1);
  const list = () => new Int32Array(most);
  const trie: Trie = {
    ...{ child: list(), sibling: list(), code: list(), depth: list(), fail: list(), output: list() },
    name: [null],
    first: new Int32Array(ascii),
  };
  for (const [text, name] of patterns) {
    let node = 0;
    for (let index = 0; index < text.length; index += 1) {
      const code = fold(text.charCodeAt(index));
      node = childBy(trie, node, code) || grow(trie, node, code);
    }
    trie.name[node] ??= name;
  }
  return trie;
}

/** Adds a child to the node and returns it. */
function grow(trie: Trie, node: number, code: number): number {
  const added = trie.name.push(null) - 1;
  trie.code[added] = code;
  trie.sibling[added] = at(trie.child, node);
  trie.depth[added] = at(trie.depth, node) + 1;
  trie.child[node] = added;
  if (node === 0 && code < ascii) trie.first[code] = added;
  return added;
}

/** Sets the failure links, in breadth-first order. */
function link(trie: Trie): Trie {
  const queue = [0];
  for (let next = 0; next < queue.length; next += 1) {
    const node = queue[next] ?? 0;
    for (let child = at(trie.child, node); child !== 0; child = at(trie.sibling, child)) {
      const fail = node === 0 ? 0 : step(trie, at(trie.fail, node), at(trie.code, child));
      trie.fail[child] = fail;
      trie.output[child] = trie.name[fail] === null ? at(trie.output, fail) : fail;
      queue.push(child);
    }
  }
  return trie;
}
