import { everyGrant, type Grant } from "./grants.ts";

/** The caller: its identity, its credential and its grants. */
export interface Session {
  /** Null: an execution or a sensor without an identity. */
  identityId: bigint | null;
  login: string;
  /** 0 where authentication is off. */
  tokenId: bigint;
  kind: "session" | "api" | "execution" | "sensor";
  expiresAt: Date | null;
  grants: readonly Grant[];
  /** Whether the credential is narrowed to some of its identity's grants; then nothing is allowed without a grant. */
  narrowed: boolean;
  roles: readonly string[];
  /** The execution whose token this is; null for the other kinds. */
  executionId: bigint | null;
}

/** Returns the session of every caller when authentication is off: the administrator's, without a credential. */
export function openSession(identity: string): Session {
  return {
    identityId: BigInt(identity),
    login: "admin",
    tokenId: 0n,
    kind: "api",
    expiresAt: null,
    grants: everyGrant,
    narrowed: false,
    roles: [],
    executionId: null,
  };
}

/** Returns the id of the session's identity as a SQL parameter; null without one. */
export function identityOf({ identityId }: Session): string | null {
  return identityId === null ? null : String(identityId);
}
