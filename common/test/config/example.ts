/** A configuration for the tests: its schema, and loading it from a text and an environment. */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keyPaths } from '#common/config/catalogue.ts'
import { duration, flag, integer, list, port, secret, secretList } from '#common/config/keys.ts'
import { loadConfig } from '#common/config/load.ts'
import { url } from '#common/config/url-keys.ts'

export const schema = {
  gateway: {
    port: port(8080, ''),
    max: integer(5, '', { min: 1, max: 10 }),
    rateLimit: { enabled: flag(true, '') },
    wait: duration('1m', '', { min: '1s', max: '1h' }),
    peers: list('', 'words', (word) => /^[a-z]+$/.test(word))
  },
  rpc: { token: secret(''), peppers: secretList('') },
  redis: { url: url(['redis'], '') }
}
export const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'config.yml')

export function load(content: string, env: NodeJS.ProcessEnv = {}) {
  writeFileSync(file, content)
  return loadConfig(schema, { CONFIG_FILE: file, ...env }, { otherKeys: keyPaths })
}

/** The message of the error that an action throws; empty if it throws none. */
export function messageOf(action: () => unknown): string {
  try {
    action()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}
