/** The program of `make run`: runs the stack in the foreground until Ctrl-C. */

import { join } from 'node:path'
import { ConfigError, loadConfig } from '#common/config/load.ts'
import { dropDriverVariables } from '#common/config/runtime-variables.ts'
import { schema } from './config.ts'
import { requireStartable } from './config-checks.ts'
import { usesKafka, wantedInstances } from './instances.ts'
import { requireKnownMakeVariables, runVariables } from './make-variables.ts'
import { runStack } from './stack.ts'

// Paths in the configuration are relative to the project.
process.chdir(join(import.meta.dirname, '..'))
// Only the owner can read the data.
process.umask(0o077)
// A write to a closed terminal does not end the process: SIGHUP stops the stack in order.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

try {
  if (process.argv.includes('--from-make')) requireKnownMakeVariables(runVariables)
  const config = loadConfig(schema, process.env, { commandVariables: runVariables })
  requireStartable(config)
  dropDriverVariables()
  config.kafka.enabled = usesKafka(config.kafka.enabled)
  process.exit(await runStack(config, wantedInstances(config.kafka.enabled)))
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(error.message)
  process.exit(1)
}
