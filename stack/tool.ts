/** Runs a tool to its end. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)

interface ToolOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  uid?: number
  gid?: number
  signal?: AbortSignal
  timeoutMs?: number
}

// initdb prints the reason first, and then its clean-up.
const reasonLine = /\b(FATAL|PANIC): |^\S+: (error|fatal): /

/** A tool failed. The message is the line of its output that states the reason, or the last line. */
export class ToolError extends Error {
  override name = 'ToolError'
  /** Everything that the tool wrote. */
  readonly output: string

  constructor(output: string, cause: Error) {
    const lines = output.trim().split('\n')
    super(lines.find((line) => reasonLine.test(line))?.trim() || lines.at(-1) || cause.message, { cause })
    this.output = output.trim() || cause.message
  }
}

/**
 * Runs a tool and resolves to its output.
 *
 * @throws {ToolError} if the tool fails or does not exist
 */
export async function runTool(file: string, args: string[], options: ToolOptions = {}): Promise<string> {
  const { timeoutMs = 0, ...rest } = options
  try {
    const { stdout, stderr } = await exec(file, args, { ...rest, timeout: timeoutMs, maxBuffer: 64 * 2 ** 20 })
    return stdout + stderr
  } catch (error) {
    const { stderr = '', stdout = '' } = error as { stderr?: string; stdout?: string }
    throw new ToolError(`${stdout}\n${stderr}`, error as Error)
  }
}

/** Whether a command is on the path. */
export async function isInstalled(command: string): Promise<boolean> {
  return runTool('sh', ['-c', 'command -v "$1"', 'sh', command]).then(
    () => true,
    () => false
  )
}
