/**
 * A process that logs numbered lines at a steady rate, through the log of a service. It prints the last number that is
 * on the disk, and ends at SIGTERM; run as
 * `log-producer.ts <service> <from> <to> <per second> [<partition>]`. Without a partition the name of the source determines it.
 */

import { join } from 'node:path'
import { openServiceLog } from '#common/logging/service-log.ts'
import { namesIn, nothingShipped, openShipped } from '#common/logging/spool/layout.ts'
import { createRegistry } from '#common/ops/metrics.ts'

const [service = 'producer', from = '1', to = '1', perSecond = '1000', partition] = process.argv.slice(2)
const spoolDirectory = process.env.LOG_SPOOL_DIRECTORY ?? ''
const tickMs = 20
const { log, startShipping, close } = openServiceLog(
  service,
  {
    log: {
      level: 'info',
      stdout: 'fatal',
      spool: { directory: spoolDirectory, maxBytes: 2 ** 30 }
    },
    kafka: {
      brokers: (process.env.KAFKA_BROKERS ?? '').split(','),
      compression: 'zstd',
      logs: { topic: process.env.KAFKA_LOGS_TOPIC ?? 'logs' }
    }
  },
  createRegistry(service)
)
if (partition !== undefined) {
  // The shipping position names the partition before the first batch.
  for (const instance of namesIn(join(spoolDirectory, service))) {
    const shippedFile = openShipped(join(spoolDirectory, service, instance))
    shippedFile.write({ ...nothingShipped, partition: Number(partition) })
    shippedFile.close()
  }
}
startShipping()

let next = Number(from)
const timer = setInterval(() => {
  const end = Math.min(next + (Number(perSecond) * tickMs) / 1000, Number(to) + 1)
  while (next < end) log.info({ event: 'numbered', count: next++ }, 'a numbered line')
  // After the write of this turn.
  setImmediate(() => setImmediate(() => process.stdout.write(`${next - 1}\n`)))
  if (next > Number(to)) clearInterval(timer)
}, tickMs)

process.on('SIGTERM', async () => {
  clearInterval(timer)
  await close(2000)
  process.exit(0)
})
// Keeps the process alive, like the server of a service.
setInterval(() => {}, 1000)
