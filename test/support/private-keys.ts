/** The files of private keys that services use, and the test that a rotation replaces their content. */

import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { environmentName } from '#common/config/load.ts'
import { privateKeys } from './secret-names.ts'

type Environment = Record<string, string>

/** Records the private keys in the files that these environments name. */
export function recordPrivateKeys(environments: Environment[]) {
  const files = [
    ...privateKeys().map((path) => ({ path, fileIn: (each: Environment) => each[environmentName(path)] })),
    { path: 'sslkey of userSvc.postgres.url', fileIn: sslKey }
  ].flatMap(({ path, fileIn }) =>
    environments.flatMap((each) => {
      const file = fileIn(each)
      return file ? [{ path, file, digest: digestOf(file) }] : []
    })
  )
  return {
    /** The configuration keys whose files are recorded. */
    paths: new Set(files.map(({ path }) => path)),
    /** The configuration keys with a file that has the same content as when it was recorded. */
    unchanged: () => files.filter(({ file, digest }) => digestOf(file) === digest).map(({ path }) => path)
  }
}

const digestOf = (file: string) => hash('sha256', readFileSync(file))

function sslKey({ USER_SVC_POSTGRES_URL: url }: Environment): string | null {
  return url ? new URL(url).searchParams.get('sslkey') : null
}
