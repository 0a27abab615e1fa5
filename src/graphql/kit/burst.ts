import type { Session } from "../../access/session.ts";
import type { Change } from "../../notifier/page.ts";

/** How long an object that was loaded with an earlier message of its burst still counts as the object as it is now. */
const freshMs = 1000;

/** The changes that a stream sends one after another. Their objects are loaded together, with the first that is asked for. */
export interface Burst {
  /** The stream is about to send these changes. */
  begin(changes: readonly Change[]): void;
  /**
   * Returns the object of the change, as it was at most a second ago. `load` loads the object of a change for the field `place`; its calls
   * in one turn of the event loop share a statement.
   */
  load<T>(change: Change, options: BurstLoad<T>): Promise<T>;
}

interface BurstLoad<T> {
  place: string;
  session: Session | null;
  load(change: Change): Promise<T>;
}

/** The objects that a field has loaded, by the change's entity. */
interface Loaded {
  at: number;
  session: Session | null;
  objects: Map<string, Promise<unknown>>;
}

/** Creates the burst of a stream that has sent nothing yet. */
export function createBurst(): Burst {
  let pending: readonly Change[] = [];
  const loaded = new Map<string, Loaded>();

  function loadAll<T>(from: number, { session, load }: BurstLoad<T>): Loaded {
    const objects = new Map<string, Promise<unknown>>();
    for (const change of pending.slice(from)) {
      if (objects.has(keyOf(change))) continue;
      const object = load(change);
      object.catch(() => {}); // reported when its message is sent, which may never happen
      objects.set(keyOf(change), object);
    }
    return { at: performance.now(), session, objects };
  }

  return {
    begin: (changes) => {
      pending = changes;
      loaded.clear();
    },
    load: async (change, options) => {
      const index = pending.findIndex(({ id }) => id === change.id);
      if (index === -1 || pending.length === 1) return await options.load(change);
      let known = loaded.get(options.place);
      // The object must be younger than the message, and readable with the session's present grants.
      if (!known || known.session !== options.session || performance.now() - known.at > freshMs) {
        known = loadAll(index, options);
        loaded.set(options.place, known);
      }
      return (await known.objects.get(keyOf(change))) as Awaited<ReturnType<typeof options.load>>; // of the same field
    },
  };
}

const keyOf = ({ entityType, entityId }: Change) => `${entityType} ${entityId}`;
