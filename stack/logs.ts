/** `make logs`: shows the logs of all services, merged by time. */

import { join } from 'node:path'
import { ConfigError, loadConfig } from '#common/config/load.ts'
import { readQuery } from '../log-viewer/query.ts'
import { createFormat } from '../log-viewer/readable.ts'
import { showLogs } from '../log-viewer/show.ts'
import { schema } from './config.ts'
import { logDirectories } from './log-directories.ts'
import { logsVariables, requireKnownMakeVariables, runVariables } from './make-variables.ts'

// Paths in the configuration are relative to the project.
process.chdir(join(import.meta.dirname, '..'))
const out = process.stdout
// The callback of a failed write has its error, too.
out.on('error', () => {})
process.stderr.on('error', () => {})

try {
  if (process.argv.includes('--from-make')) requireKnownMakeVariables(logsVariables)
  const query = readQuery(process.env, Date.now())
  if (query.follow) process.on('SIGINT', () => process.exit(0))
  const format = out.isTTY ? createFormat(out.hasColors()) : undefined
  // Variables of `make run` may be exported in the same shell.
  const config = loadConfig(schema, process.env, { commandVariables: [...logsVariables, ...runVariables] })
  const complete = await showLogs({ query, ...logDirectories(config), out, format, say: console.error })
  // process.exit() can wait forever for a thread that compiles (nodejs/node#54918). Remove when that is fixed.
  process.exitCode = complete ? 0 : 1
} catch (error) {
  const { code, syscall, message } = error as NodeJS.ErrnoException
  // The reader of the output, such as `head`, has closed it.
  if (code === 'EPIPE') process.exit(0)
  if (!(error instanceof ConfigError) && syscall === undefined) throw error
  console.error(message)
  process.exitCode = 1
}
