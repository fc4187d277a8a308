/** The warning of a service that other machines reach outside production, and the page that says how to avoid it. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Logger } from '#common/logging/logger.ts'
import { warnOutsideProduction } from '#common/process/development-warning.ts'

/** The events that are logged for a host. */
function eventsOf(host: string, environment: NodeJS.ProcessEnv): string[] {
  const events: string[] = []
  const log = { warn: ({ event }: { event: string }) => events.push(event) } as unknown as Logger
  warnOutsideProduction('gateway.host', host, log, environment)
  return events
}

t.test('a listener outside production warns, except on a loopback address', async (t) => {
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'gateway.internal']) {
    t.same(eventsOf(host, {}), ['not_in_production'], host)
    t.same(eventsOf(host, { NODE_ENV: 'development' }), ['not_in_production'], host)
    t.same(eventsOf(host, { NODE_ENV: 'production' }), [], host)
  }
  for (const host of ['127.0.0.1', '::1', 'localhost']) t.same(eventsOf(host, {}), [], host)
})

t.test('the start without containers is documented in production mode', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/operate/deploy.md'), 'utf8')
  const [section = ''] = /^Without containers,.*?(?=\n\n)/ms.exec(page) ?? []
  t.match(section, /set `NODE_ENV=production`/)
  t.match(section, /leave out `SECURITY_ALLOW_PLAINTEXT`/)
  t.match(page, /`not_in_production`/)
})
