/** Who is asking, and by which credential. */
export interface Session {
  identityId: bigint;
  login: string;
  tokenId: bigint;
  kind: "session" | "api";
  expiresAt: Date | null;
}
