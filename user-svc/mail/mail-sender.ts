/** Runs the sender of emails as configured. */

import type { MailOptions } from '#common/config/mail-section.ts'
import type { Logger } from '#common/logging/logger.ts'
import { systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'
import type { Database } from '../database.ts'
import type { EmailMetrics } from '../metrics.ts'
import { createEmailRows } from './email-rows.ts'
import { createFileDelivery } from './mail-files.ts'
import { createComposer, type Deliver } from './message.ts'
import { createSender, type SenderParts } from './sender.ts'
import { createSmtpDelivery } from './smtp.ts'
import { loadTemplates } from './templates.ts'

const pollMs = 500
const housekeepIntervalMs = 5000
const drainTimeoutMs = 2000
const recordTimeoutMs = 1000

interface MailSenderParts {
  db: Database
  metrics: EmailMetrics
  log: Logger
}

/** Starts the sender. config.ts has checked the templates and the directory. */
export function createMailSender(options: MailOptions, { db, metrics, log }: MailSenderParts) {
  const compose = createComposer(options, loadTemplates(options.templates))
  return startSender({ rows: createEmailRows(db), compose, deliver: deliveryOf(options), metrics, log })
}

function deliveryOf({ target, from }: MailOptions): Deliver {
  return 'directory' in target ? createFileDelivery(target.directory) : createSmtpDelivery(target, from.address)
}

/** Runs a sender until it is closed. */
export function startSender(parts: SenderParts) {
  const { log, clock = systemClock } = parts
  const sender = createSender(parts)
  const stopping = new AbortController()

  async function run(): Promise<void> {
    let housekeepAt = Number.NEGATIVE_INFINITY
    while (!stopping.signal.aborted) {
      let hasMore = false
      try {
        hasMore = await sender.startDue()
        if (clock.now() >= housekeepAt) {
          await sender.housekeep()
          housekeepAt = clock.now() + housekeepIntervalMs
        }
      } catch (error) {
        // The database is down or not migrated yet, which its probe reports.
        log.debug({ event: 'emails_failed', err: error }, 'failed to read the emails')
      }
      const pause = clock.sleep(pollMs, stopping.signal).catch(() => {})
      await (hasMore ? Promise.race([sender.onSlotFree(), pause]) : pause)
    }
  }

  const running = run()
  return {
    probe: sender.probe,

    /** Lets sends in flight end for two seconds, then aborts them: another sender repeats them. */
    async close(): Promise<void> {
      stopping.abort()
      await withinMs(drainTimeoutMs, sender.onIdle()).catch(() => sender.abort())
      await withinMs(recordTimeoutMs, Promise.all([running, sender.onIdle()])).catch(() => {})
    }
  }
}
