import { everyGrant, type Grant } from "./grants.ts";

/** Who is asking, by which credential, and what that one may do. */
export interface Session {
  /** Null: an execution that no identity stands behind. */
  identityId: bigint | null;
  login: string;
  /** 0 where authentication is off. */
  tokenId: bigint;
  kind: "session" | "api" | "execution" | "sensor";
  expiresAt: Date | null;
  grants: readonly Grant[];
  /** Whether the credential was made for less than its identity may do: then it gives its grants, and nothing without one. */
  narrowed: boolean;
  roles: readonly string[];
  /** The execution whose token this is; null for the other kinds. */
  executionId: bigint | null;
}

/** Where nobody is asked who they are: the administrator, by no credential. */
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

/** The session's identity as SQL takes it; null without one. */
export function identityOf({ identityId }: Session): string | null {
  return identityId === null ? null : String(identityId);
}
