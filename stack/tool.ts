/** Runs a tool to its end. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** What may be said about a tool's run; `signal` ends it. */
export interface ToolOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  uid?: number
  gid?: number
  signal?: AbortSignal
  timeoutMs?: number
}

// initdb writes the reason first, and then how it cleans up.
const reasonLine = /\b(FATAL|PANIC): |^\S+: (error|fatal): /

/** A tool failed; the message is the line that states the reason, or the last one; `output` is all that it wrote. */
export class ToolError extends Error {
  override name = 'ToolError'
  readonly output: string

  constructor(output: string, cause: Error) {
    const lines = output.trim().split('\n')
    super(lines.find((line) => reasonLine.test(line))?.trim() || lines.at(-1) || cause.message, { cause })
    this.output = output.trim() || cause.message
  }
}

/**
 * Runs a tool and resolves to what it printed.
 *
 * @throws {ToolError} if it cannot be run or fails
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
