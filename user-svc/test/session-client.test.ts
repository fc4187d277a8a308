/** How user-svc learns whether sessions can be created. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { newTrace } from '#common/trace.ts'
import { createSessionClient } from '../session-client.ts'
import { type SessionsDouble, sessionTransport } from './service.ts'

const call = { signal: new AbortController().signal, timeoutMs: () => 5000, trace: newTrace() }

t.test('an answer is as old as the password may wait, half a second at most', async (t) => {
  const double: SessionsDouble = {
    serving: true,
    checks: 0,
    live: new Map(),
    lowestEpochs: new Map(),
    failure: undefined
  }
  const { requireAvailable } = createSessionClient(sessionTransport(double))
  const refusal = (maxAgeMs: number) => requireAvailable(call, maxAgeMs).then(() => undefined, ConnectError.from)
  for (const checks of [1, 2]) {
    await requireAvailable(call, 0)
    t.equal(double.checks, checks, 'who need not wait asks')
  }
  double.serving = false
  const askedAt = performance.now()
  t.equal(await refusal(60_000), undefined)
  t.equal(double.checks, 2)
  t.equal((await refusal(0))?.code, Code.Unavailable)
  t.equal((await refusal(60_000))?.code, Code.Unavailable, 'a refusal is not forgotten')
  t.equal(double.checks, 4)
  t.ok(performance.now() - askedAt < 500, 'this machine was quick enough for the above to mean something')
  double.serving = true
  await requireAvailable(call, 0)
  double.serving = false
  await new Promise((resolve) => setTimeout(resolve, 510))
  t.equal((await refusal(60_000))?.code, Code.Unavailable)
})
