/** The report of replaced certificates. */

import { mock } from 'node:test'
import { Registry } from '@prometheus-io/client'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { createTestCa, replaceFiles } from '#common/testing/certificates.ts'
import { createCertificateWatch } from '#common/tls/certificate-watch.ts'
import { refreshMs } from '#common/tls/pem-source.ts'

const ca = createTestCa(t)
const [first, second] = [ca.issue('first'), ca.issue('second')]
const used = { cert: ca.file('used.pem'), key: ca.file('used.key') }

t.test(
  'an unusable pair is reported once at its second reading; a pair that is half replaced at one reading is not',
  async (t) => {
    mock.timers.enable({ apis: ['setInterval'] })
    t.teardown(() => mock.timers.reset())
    replaceFiles(first, used)
    const lines: string[] = []
    const log = createLogger('gateway', 'info', { write: (line) => void lines.push(line) })
    const registry = new Registry()
    createCertificateWatch(log, registry).add('rest', used)
    const read = () => mock.timers.tick(refreshMs)
    const events = () => lines.splice(0).map((line) => JSON.parse(line).event)
    const rejected = async () => /tls_certificate_rejected\{purpose="rest"\} (\d)/.exec(await registry.metrics())?.[1]

    replaceFiles({ cert: second.cert, key: first.key }, used)
    read()
    t.same([events(), await rejected()], [[], '0'], 'the first reading decides nothing')
    replaceFiles(second, used)
    read()
    t.same([events(), await rejected()], [['certificate_replaced'], '0'])

    replaceFiles({ cert: first.cert, key: second.key }, used)
    for (let reading = 0; reading < 4; reading += 1) read()
    t.same([events(), await rejected()], [['certificate_rejected'], '1'])
    replaceFiles(first, used)
    read()
    t.same([events(), await rejected()], [['certificate_replaced'], '0'])
  }
)
