/** The settings of emails under `make run`: files in the data directory and links to the playground, unless configured. */

import { join } from 'node:path'
import { ConfigError } from '#common/config/load.ts'
import { mailOptions } from '#common/config/mail-section.ts'
import type { Config } from './config.ts'
import { keptSecret } from './secret-file.ts'

/** The URL of the emails: the configured one, or the directory `mail` of the data. Production has no default. */
export function mailUrl({ mail, stack }: Pick<Config, 'mail' | 'stack'>, environment = process.env): string {
  if (mail.url !== '' || environment.NODE_ENV === 'production') return mail.url
  return `file:${join(stack.dataDir, 'mail')}`
}

/**
 * The variables that complete the configured settings.
 *
 * @param keyFile the file of the generated key
 * @param playground the page that the links open
 */
export function mailVariables(config: Config, keyFile: string, playground: string): NodeJS.ProcessEnv {
  const url = mailUrl(config)
  if (url === '') return {}
  const { from, links, keys } = config.mail
  return {
    MAIL_URL: url,
    MAIL_FROM: from || 'Development <auth@example.org>',
    MAIL_LINKS_VERIFY: links.verify || `${playground}#verify={token}`,
    MAIL_LINKS_RESET: links.reset || `${playground}#reset={token}`,
    MAIL_KEYS: keys.length > 0 ? keys.join(',') : generatedKey(keyFile)
  }
}

/**
 * Rejects settings that user-svc would reject, before anything starts.
 *
 * @throws {ConfigError}
 */
export function requireMail({ mail }: Pick<Config, 'mail'>, environment = process.env): void {
  if (mail.url === '' || mail.url.startsWith('file:')) return
  if (mail.from === '')
    throw new ConfigError('mail.from: is missing beside mail.url; takes the address of the sender (MAIL_FROM)')
  // Production has no playground.
  const page = environment.NODE_ENV === 'production' ? '' : 'http://localhost/playground#{token}'
  const links = { verify: mail.links.verify || page, reset: mail.links.reset || page }
  mailOptions({ ...mail, links, keys: ['generated'] }, environment)
}

/** A generated key in the form of `mail.keys`, kept in a file. */
export function generatedKey(file: string): string {
  return `a:${Buffer.from(keptSecret(file), 'base64url').toString('base64')}`
}
