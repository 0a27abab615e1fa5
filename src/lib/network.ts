import { BlockList, isIP } from "node:net";

/**
 * IPv4 addresses that are not public: IANA's special-purpose registry, multicast, reserved ones, and the address at which Azure serves
 * its metadata.
 */
const special4: readonly [string, number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
];
/** Of IPv6 only global unicast and NAT64 are public; of those not the protocol assignments, documentation and tunnels to IPv4. */
const global6: readonly [string, number][] = [
  ["2000::", 3],
  ["64:ff9b::", 96],
];
const special6: readonly [string, number][] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const special = new BlockList();
const global = new BlockList();
for (const [network, prefix] of special4) {
  special.addSubnet(network, prefix, "ipv4");
  special.addSubnet(`64:ff9b::${network}`, 96 + prefix, "ipv6"); // what NAT64 makes of it
}
for (const [network, prefix] of special6) special.addSubnet(network, prefix, "ipv6");
for (const [network, prefix] of global6) global.addSubnet(network, prefix, "ipv6");

const familyOf = (address: string) => (isIP(address) === 6 ? "ipv6" : "ipv4");

/** Returns whether the address, in the usual notation, is one of the public internet. IPv4 addresses within IPv6 notation are not. */
export function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !special.check(address);
  return isIP(address) === 6 && global.check(address, "ipv6") && !special.check(address, "ipv6");
}

/** A set of addresses. */
export interface Networks {
  has(address: string): boolean;
}

/** Returns whether the text is an address or a network such as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const [address = "", prefix, ...more] = text.split("/");
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  if (bits < 0 || more.length > 0 || address.includes("%")) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits);
}

/** Returns the set of the addresses in these networks. Each must be one according to `isNetwork`; an IPv4 address is found in IPv6 notation too. */
export function createNetworks(networks: readonly string[]): Networks {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", prefix] = network.split("/");
    if (prefix === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(prefix), familyOf(address));
  }
  return { has: (address) => isIP(address) !== 0 && list.check(address, familyOf(address)) };
}
