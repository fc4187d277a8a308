/** Runs a script of the bench in a child process, so that its CPU time and its pauses are not those of the bench. */

import { join } from 'node:path'
import { runTool } from '../stack/tool.ts'

/** Resolves to the JSON on the first line that the script prints. */
export async function runScript<T>(
  name: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {}
): Promise<T> {
  const { env, timeoutMs = 0 } = options
  const output = await runTool(process.execPath, [join(import.meta.dirname, name), ...args], {
    timeoutMs,
    env: { ...process.env, ...env }
  })
  return JSON.parse(output.slice(0, output.indexOf('\n'))) as T
}
