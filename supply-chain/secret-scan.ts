/** Scans files for credentials. */

import { join } from 'node:path'
import { runTool } from '../stack/tool.ts'

const rules = join(import.meta.dirname, 'secretlint.json')

/** @throws ToolError whose output names the files with a credential */
export async function requireNoSecrets(files: readonly string[], signal?: AbortSignal): Promise<void> {
  await runTool('secretlint', ['--secretlintrc', rules, ...files], signal ? { signal } : {})
}
