/** What `attune db` reports of the migrations that a call has applied. */
export interface Migrated {
  /** How many this version has. */
  known: number;
  /** The names of those that the database lacked. */
  pending: string[];
}

/** Something that the schema consists of. */
export interface SchemaObject {
  /** Such as `table` or `index`. */
  kind: string;
  name: string;
  state: "found" | "missing";
}

/** What `attune db status` reports. */
export interface DatabaseStatus {
  /** The program's. */
  version: string;
  database: { kind: "postgres" | "embedded"; version: string; place: string; sizeBytes: number };
  migrations: { applied: number; pending: string[]; latest: string | null };
  /** The open connections of others, by the names that they give. */
  connections: { application: string; count: number }[];
  /** The rows of each table; above 10,000 an estimate. */
  tables: { name: string; rows: number; isEstimate: boolean }[];
}

export interface DropOptions {
  /** Whether connections of others to PostgreSQL are ended; else they prevent it. */
  force: boolean;
  /** Whether it is to be created anew: then it is not removed by a user who could not do that. */
  again: boolean;
}

/** Resolves when the user agrees; rejects when not. Called once everything else has been checked. */
export type Consent = () => Promise<void>;

/**
 * Looks after the database that a server's settings name, without a server. Its methods reject with StartError, naming the cure, for faults
 * that the user can correct, such as a newer database, or an embedded one that a server uses.
 */
export interface Administration {
  /** Where the database is, without a password. */
  place: string;
  /** Creates an empty database. Returns false when there is one already. */
  create(): Promise<boolean>;
  /** Brings an existing database to this version. */
  migrate(): Promise<Migrated>;
  /** Removes the database. Returns false when there is none. */
  drop(consent: Consent, options: DropOptions): Promise<boolean>;
  /** Removes all rows but those of the schema itself. Returns how many tables it has emptied. */
  clean(consent: Consent): Promise<number>;
  /** Returns everything that the migrations create, and whether the database has it. */
  verify(): Promise<SchemaObject[]>;
  status(): Promise<DatabaseStatus>;
}

/**
 * Returns the administration of the database that the environment's settings name, and those of a file for variables that it lacks. It loads a
 * server's code, so only the commands that need it call it.
 */
export type Administer = (
  env: Readonly<Record<string, string | undefined>>,
  settingsFile: string | undefined,
) => Promise<Administration>;
