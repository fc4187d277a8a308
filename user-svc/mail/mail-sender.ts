/** The sender of emails as configured. */

import type { MailOptions } from '#common/config/mail-section.ts'
import type { Logger } from '#common/logging/logger.ts'
import type { Database } from '../database.ts'
import type { EmailMetrics } from '../metrics.ts'
import { createEmailRows } from './email-rows.ts'
import { createFileDelivery } from './mail-files.ts'
import { createComposer, type Deliver } from './message.ts'
import { startSender } from './sender.ts'
import { createSmtpDelivery } from './smtp.ts'
import { loadTemplates } from './templates.ts'

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
