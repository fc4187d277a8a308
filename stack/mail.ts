/** The program of `make mail`: shows the newest email of `make run`, its link first. */

import { join } from 'node:path'
import { ConfigError, loadConfig } from '#common/config/load.ts'
import { mailDirectory } from '#common/config/mail-section.ts'
import { newestEmails } from '#common/mail/mail-files.ts'
import { schema } from './config.ts'
import { mailUrl } from './mail-settings.ts'
import { requireKnownMakeVariables, runVariables } from './make-variables.ts'

// Paths in the configuration are relative to the project.
process.chdir(join(import.meta.dirname, '..'))
// The reader of the output, such as `head`, may have closed it.
process.stdout.on('error', () => {})

try {
  if (process.argv.includes('--from-make')) requireKnownMakeVariables([])
  const config = loadConfig(schema, process.env, { commandVariables: runVariables })
  const url = mailUrl(config)
  const directory = mailDirectory(url)
  if (directory === undefined) {
    const state = url === '' ? 'is not set' : `starts with ${url.slice(0, url.indexOf(':'))}:`
    throw new ConfigError(`mail.url ${state}; make mail shows the emails that mail.url=file:<directory> writes`)
  }
  const [email] = await newestEmails(directory, 1)
  if (email === undefined) {
    throw new ConfigError(`no email in ${directory} yet; a registration while \`make run\` runs sends the first`)
  }
  const { links, to, subject, writtenAt, text } = email
  for (const link of links) console.log(link)
  console.log(
    `${links.length > 0 ? '\n' : ''}To: ${to}\nSubject: ${subject}\nDate: ${writtenAt.toISOString()}\n\n${text}`
  )
} catch (error) {
  const { code, syscall, message } = error as NodeJS.ErrnoException
  if (!(error instanceof ConfigError) && syscall === undefined) throw error
  console.error(error instanceof ConfigError ? message : `the emails cannot be read (${code})`)
  process.exitCode = 1
}
