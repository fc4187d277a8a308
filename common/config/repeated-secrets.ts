/** Finds a secret that has two purposes: each of its holders could do what the other may do. */

import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Files of private keys, by the path of their key. */
export interface TlsKeyFiles {
  server: Record<string, string | undefined>
  /** Of certificates that identify the service: they may share a key. */
  identity: Record<string, string | undefined>
}

/** @returns a problem for each secret that an earlier path has */
export function repeatedSecrets(
  secrets: [path: string, value: string | undefined][],
  { server, identity }: TlsKeyFiles
): string[] {
  const keysOf = (files: TlsKeyFiles['server']) =>
    Object.entries(files).map(([path, file]): [string, string | undefined] => [path, file ? secretPart(file) : ''])
  const identities = keysOf(identity)
  const distinct = identities.filter(
    ([, value], index) => identities.findIndex((other) => other[1] === value) === index
  )
  const owners = new Map<string, string>()
  return [...secrets, ...keysOf(server), ...distinct].flatMap(([path, value]) => {
    if (!value) return []
    const owner = owners.get(value)
    owners.set(value, path)
    return owner === undefined ? [] : [`${path}: has the secret of ${owner}, production takes one of its own`]
  })
}

/** The secret number of a private key, in the form of `userSvc.eventKeys`; undefined if the file cannot be used, which TLS reports. */
function secretPart(file: string): string | undefined {
  try {
    const { d } = createPrivateKey(readFileSync(file)).export({ format: 'jwk' })
    return d && Buffer.from(d, 'base64url').toString('base64')
  } catch {
    return undefined
  }
}
