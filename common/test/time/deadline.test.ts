/** Limits of waiting: timeouts, deadlines, cancellation. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { deadlineExceeded, untilAborted } from '#common/time/deadline.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { TimeoutError, withinMs } from '#common/time/timeout.ts'

const never = () => new Promise<never>(() => {})
// Signals' own timers keep no process alive.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))
const unhandled: unknown[] = []
process.on('unhandledRejection', (reason) => unhandled.push(reason))

t.test('settles as the work does', async (t) => {
  const { signal } = new AbortController()
  t.equal(await untilAborted(signal, Promise.resolve(5)), 5)
  t.equal(await withinMs(1000, Promise.resolve(5)), 5)
  const failure = new Error('its own')
  await t.rejects(untilAborted(signal, Promise.reject(failure)), failure)
  await t.rejects(withinMs(1000, Promise.reject(failure)), failure)
})

t.test('rejects at the limit or the abort, with its reason', async (t) => {
  await t.rejects(withinMs(30, never()), { name: 'TimeoutError' })
  t.equal(toConnectError(new TimeoutError('x')).code, Code.DeadlineExceeded)
  await t.rejects(untilAborted(AbortSignal.timeout(30), never()), { code: Code.DeadlineExceeded })
  await t.rejects(untilAborted(AbortSignal.abort(deadlineExceeded()), never()), { code: Code.DeadlineExceeded })
  await t.rejects(untilAborted(AbortSignal.abort(), never()), { code: Code.Canceled })
  const own = new ConnectError('x', Code.Canceled)
  await t.rejects(untilAborted(AbortSignal.abort(own), never()), own)
  const controller = new AbortController()
  const waiting = untilAborted(controller.signal, never())
  controller.abort(new Error('something of the runtime'))
  await t.rejects(waiting, { code: Code.Canceled })
})

t.test('takes a result that arrived while the process was stalled', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [[accepted]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [[Socket], unknown]
  t.teardown(() => {
    socket.destroy()
    server.close()
  })
  const result = withinMs(20, once(socket, 'data'))
  accepted.end('result')
  const stalledUntil = performance.now() + 50
  while (performance.now() < stalledUntil);
  t.equal(String(await result), 'result')
})

t.test('ignores a late rejection of abandoned work', async (t) => {
  const late = () => sleep(40).then(() => Promise.reject(new Error('late')))
  await t.rejects(withinMs(10, late()))
  await t.rejects(untilAborted(AbortSignal.timeout(10), late()))
  await t.rejects(untilAborted(AbortSignal.abort(), late()))
  await sleep(100)
  t.same(unhandled, [])
})

t.test('removes its listeners from a long-lived signal', async (t) => {
  const { signal } = new AbortController()
  let listening = 0
  const { addEventListener, removeEventListener } = AbortSignal.prototype
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listening += 1
    addEventListener.apply(signal, args)
  }
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listening -= 1
    removeEventListener.apply(signal, args)
  }
  for (let count = 0; count < 20; count++) await untilAborted(signal, Promise.resolve())
  await t.rejects(untilAborted(signal, Promise.reject(new Error('x'))))
  t.equal(listening, 0)
})

t.test('maps a timeout to deadline_exceeded, and a lost connection by whether the call writes', async (t) => {
  const lost = () => Promise.reject(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
  const { signal } = new AbortController()
  await t.rejects(callEngine(AbortSignal.timeout(20), never()), { code: Code.DeadlineExceeded })
  await t.rejects(callEngine(AbortSignal.timeout(20), never(), true), { code: Code.DeadlineExceeded })
  await t.rejects(callEngine(20, never(), true), { code: Code.DeadlineExceeded }, 'a limit in milliseconds')
  t.equal(await callEngine(1000, Promise.resolve(5)), 5)
  await t.rejects(callEngine(signal, lost()), { code: Code.Unavailable })
  await t.rejects(callEngine(signal, lost(), true), { code: Code.DeadlineExceeded })
  await t.rejects(callEngine(signal, Promise.reject(new TypeError('hunter2'))), {
    code: Code.Internal,
    rawMessage: 'Internal error.'
  })
})
