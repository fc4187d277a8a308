/** The tokens that the product emails, by the address: user-svc writes each email to a file of a directory. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEmail } from '#common/mail/parse-email.ts'
import { links } from '../support/mail-server.ts'

const intervalMs = 40

/** Reads the directory until `stop`. */
export function watchEmails(directory: string) {
  const seen = new Set<string>()
  const tokens = new Map<string, string[]>()

  function read(): void {
    for (const name of readdirSync(directory).filter((each) => each.endsWith('.eml') && !seen.has(each))) {
      seen.add(name)
      const { to, text } = parseEmail(readFileSync(join(directory, name)))
      const token = links.reset.exec(text)?.[1]
      if (token !== undefined) tokens.set(to, [...(tokens.get(to) ?? []), token])
    }
  }

  const timer = setInterval(read, intervalMs)
  return {
    /** The tokens to an address that no earlier call has returned. */
    take(address: string): string[] {
      const found = tokens.get(address) ?? []
      tokens.delete(address)
      return found
    },
    stop: () => clearInterval(timer)
  }
}
