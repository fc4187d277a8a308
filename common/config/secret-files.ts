/** Secrets from files: `RPC_TOKEN_FILE` names the file with the value of `RPC_TOKEN`, as Docker and Kubernetes mount it. */

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

const maxBytes = 65_536

/** The variable that names the file of another variable. */
export const fileVariable = (variable: string) => `${variable}_FILE`

/**
 * Reads the files of secrets. The value is the content without one line break at its end. An empty variable counts as not
 * set, because compose files pass such variables.
 *
 * @param variables the variables that may come from a file
 * @returns the environment with the secrets, and one line for each mistake, without paths and values
 */
export function readSecretFiles(
  environment: NodeJS.ProcessEnv,
  variables: readonly string[]
): { environment: NodeJS.ProcessEnv; problems: string[] } {
  const read: NodeJS.ProcessEnv = { ...environment }
  const problems: string[] = []
  for (const variable of variables) {
    const name = fileVariable(variable)
    const file = environment[name] ?? ''
    if (file === '') continue
    if (environment[variable]) problems.push(`${name}: is set beside ${variable}, takes one of them`)
    else {
      try {
        read[variable] = readText(file)
      } catch (error) {
        const { code = (error as Error).message } = error as NodeJS.ErrnoException
        problems.push(`${name}: names a file that cannot be read (${code}), takes the path of a file with the value`)
      }
    }
  }
  return { environment: read, problems }
}

function readText(file: string): string {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    // A FIFO or a device would block the start.
    if (!fstatSync(descriptor).isFile()) throw new TypeError('it is no file')
    const buffer = Buffer.alloc(maxBytes + 1)
    const length = readSync(descriptor, buffer, 0, buffer.length, 0)
    if (length > maxBytes) throw new TypeError(`it has more than ${maxBytes} bytes`)
    const text = buffer.toString('utf8', 0, length).replace(/\r?\n$/, '')
    if (text === '') throw new TypeError('it is empty')
    return text
  } finally {
    closeSync(descriptor)
  }
}
