/**
 * The networks of proxies that `gateway.trustedProxies` accepts. They must not be a large part of all addresses: clients in
 * them choose the address that limits count.
 */

import { isIP } from 'node:net'
import { ConfigError } from '#common/config/load.ts'
import { canonicalAddress } from '#common/network/addresses.ts'
import { networks } from './client-address.ts'

interface Network {
  kind: 'IPv4' | 'IPv6' | 'local IPv6'
  bits: number
}

// A /24 of IPv6 is the largest network that a content delivery network publishes; registries have /12.
const minBits = { IPv4: 8, IPv6: 24, 'local IPv6': 8 }
// Of all addresses of a kind. The private networks of IPv4 are 18 million addresses.
const maxShare = { IPv4: 2 ** -6, IPv6: 2 ** -20, 'local IPv6': 1 }
const isLocal = networks(['fc00::/7', 'fe80::/10'])

/** A network in CIDR notation; IPv4 if it is mapped into IPv6. Undefined for other text. */
function parseProxyNetwork(cidr: string): Network | undefined {
  const [, address = '', digits] = /^([\d.:a-f]+)\/(\d{1,3})$/i.exec(cidr) ?? []
  const bits = Number(digits)
  if (isIP(address) === 4) return bits <= 32 ? { kind: 'IPv4', bits } : undefined
  if (isIP(address) === 0 || bits > 128) return undefined
  if (bits >= 96 && isIP(canonicalAddress(address) as string) === 4) return { kind: 'IPv4', bits: bits - 96 }
  // The network contains all of IPv4.
  if (networks([cidr])('::ffff:0.0.0.0')) return undefined
  return { kind: isLocal(address) ? 'local IPv6' : 'IPv6', bits }
}

/** Whether a text is a network of plausible size. */
export function isProxyNetwork(cidr: string): boolean {
  const network = parseProxyNetwork(cidr)
  return network !== undefined && network.bits >= minBits[network.kind]
}

/** @throws {ConfigError} if the networks together are a large part of all addresses */
export function requireFewProxies(cidrs: readonly string[]): void {
  const shares = { IPv4: 0, IPv6: 0, 'local IPv6': 0 }
  for (const { kind, bits } of cidrs.map(parseProxyNetwork) as Network[]) shares[kind] += 2 ** -bits
  const kinds = Object.keys(shares) as (keyof typeof shares)[]
  if (kinds.every((kind) => shares[kind] <= maxShare[kind])) return
  throw new ConfigError(
    'gateway.trustedProxies: its networks together are too large a part of all addresses, takes the networks of the proxies only (GATEWAY_TRUSTED_PROXIES)'
  )
}
