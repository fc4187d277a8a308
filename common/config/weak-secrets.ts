/** Finds secrets that are missing, short or samples. Each problem names a key and contains no value. */

import { environmentName, type Schema } from './load.ts'
import { keyProblem, sampleProblem } from './secret-samples.ts'
import { sensitiveValues } from './secret-values.ts'
import { weakness } from './shared-sections.ts'

const minPasswordLength = 12

/** @returns a problem for each secret of the configuration that is too short, or no random value */
export function weakSecrets(schema: Schema, config: object): string[] {
  return sensitiveValues(schema, config).flatMap(({ path, kind, value, secrets }) => {
    if (kind === 'key') return keyListProblems(path, value as string[])
    const problemOf = kind === 'token' ? tokenProblem : passwordProblem
    return secrets.flatMap((secret) => problemOf(path, secret) ?? [])
  })
}

function keyListProblems(path: string, entries: string[]): string[] {
  return entries.flatMap((entry) => {
    const [name, base64 = ''] = entry.split(':')
    const problem = keyProblem(base64)
    return problem ? [`${path}: the key ${name} ${problem}; takes the output of openssl rand -base64 32`] : []
  })
}

function tokenProblem(path: string, token: string): string | undefined {
  const problem = weakness(token, true)
  return (
    problem && `${path}: has a token that ${problem}; takes at least 32 random characters (${environmentName(path)})`
  )
}

function passwordProblem(path: string, password: string): string | undefined {
  const problem =
    password.length < minPasswordLength
      ? `has a password of fewer than ${minPasswordLength} characters, which production does not allow`
      : sampleProblem(password) && 'has a sample password, which production does not allow'
  return problem && `${path}: ${problem} (${environmentName(path)})`
}
