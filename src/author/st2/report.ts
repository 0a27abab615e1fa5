/** What became of a component. */
export type Outcome = "carried" | "changed" | "not_carried";

/** A component of the pack, and what became of it. */
export interface ImportedComponent {
  kind: string;
  name: string;
  result: Outcome;
  /** What differs, or why it was not carried; each with what to do instead. */
  notes: string[];
  /** The file of the imported pack; null if there is none. */
  file: string | null;
}

/** What an import did. */
export interface ImportReport {
  ref: string;
  version: string;
  directory: string;
  components: ImportedComponent[];
  counts: Record<string, Record<Outcome, number>>;
}

/** Collects what becomes of the components, and the files of the new pack. */
export class Draft {
  readonly components: ImportedComponent[] = [];
  readonly files = new Map<string, { content: string | Buffer; isExecutable: boolean }>();

  /** Adds a component that is in the new pack; with notes it is a changed one. */
  carry(kind: string, name: string, file: string | null, notes: readonly string[] = []): ImportedComponent {
    return this.#add({ kind, name, result: notes.length > 0 ? "changed" : "carried", notes: [...notes], file });
  }

  /** Adds a component that is not in the new pack. */
  drop(kind: string, name: string, reason: string): ImportedComponent {
    return this.#add({ kind, name, result: "not_carried", notes: [reason], file: null });
  }

  write(path: string, content: string | Buffer, isExecutable = false): void {
    this.files.set(path, { content, isExecutable });
  }

  /** Takes a component out of the new pack again. */
  withdraw(component: ImportedComponent, reasons: readonly string[]): void {
    if (component.file !== null) this.files.delete(component.file);
    Object.assign(component, { result: "not_carried", notes: [...reasons], file: null });
  }

  #add(component: ImportedComponent): ImportedComponent {
    this.components.push(component);
    return component;
  }
}

/** Returns how many components of each kind had each outcome. */
export function countsOf(components: readonly ImportedComponent[]): ImportReport["counts"] {
  const counts: ImportReport["counts"] = {};
  for (const { kind, result } of components) {
    counts[kind] ??= { carried: 0, changed: 0, not_carried: 0 };
    counts[kind][result] += 1;
  }
  return counts;
}
