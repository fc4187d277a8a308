/** Finds secrets that are missing, short or samples. Each problem names a key and contains no value. */

import { environmentName, type Schema } from './load.ts'
import { keyProblem } from './secret-samples.ts'
import { sensitiveValues } from './secret-values.ts'
import { weakness } from './shared-sections.ts'
import { urlLogin } from './url-keys.ts'
import { passwordProblem } from './weak-passwords.ts'

/** Logins outside URLs. */
interface Logins {
  kafka?: { sasl: { username?: string } }
}

/** @returns a problem for each secret of the configuration that is too short, or no random value */
export function weakSecrets(schema: Schema, config: Logins): string[] {
  const values = sensitiveValues(schema, config)
  const urls = values.filter(({ kind, value }) => kind === 'password' && typeof value === 'string')
  const users = [...urls.map(({ value }) => urlLogin(value as string).user), config.kafka?.sasl.username ?? '']
  return values.flatMap(({ path, kind, value, secrets }) => {
    if (kind === 'key') return keyListProblems(path, value as string[])
    return secrets.flatMap((secret) => {
      const problem = kind === 'token' ? tokenProblem(secret) : passwordProblem(secret, users)
      return problem === undefined ? [] : [`${path}: ${problem} (${environmentName(path)})`]
    })
  })
}

function keyListProblems(path: string, entries: string[]): string[] {
  return entries.flatMap((entry) => {
    const [name, base64 = ''] = entry.split(':')
    const problem = keyProblem(base64)
    return problem ? [`${path}: the key ${name} ${problem}; takes the output of openssl rand -base64 32`] : []
  })
}

function tokenProblem(token: string): string | undefined {
  const problem = weakness(token, true)
  return problem && `has a token that ${problem}; takes at least 32 random characters`
}
