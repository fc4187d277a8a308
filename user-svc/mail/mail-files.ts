/** Writes each email to a file, `<id>.eml`, for development: ids are ordered by time. */

import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { MailError } from './mail-error.ts'
import type { Deliver, Message } from './message.ts'

/** Delivers emails to a directory, which only its owner can read if it is new. */
export function createFileDelivery(configured: string): Deliver {
  const directory = resolve(configured)
  return async ({ id, content }: Message) => {
    const draft = join(directory, `.${id}.${process.pid}`)
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const file = await open(draft, 'w', 0o600)
      await file.writeFile(content).finally(() => file.close())
      await rename(draft, join(directory, `${id}.eml`))
    } catch {
      await rm(draft, { force: true }).catch(() => {})
      throw new MailError('unreachable', { affectsAll: true })
    }
  }
}
