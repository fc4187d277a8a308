/** W3C Trace Context headers. */

import fc from 'fast-check'
import t from 'tap'
import { childSpan, continueTrace, newTrace, traceparent } from '#common/ops/trace.ts'

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length })

t.test('continues a valid header with a new span', async (t) => {
  const property = fc.property(hex(32), hex(16), hex(2), (traceId, parentId, flags) => {
    fc.pre(/[^0]/.test(traceId) && /[^0]/.test(parentId))
    const trace = continueTrace(`00-${traceId}-${parentId}-${flags}`)
    return trace.traceId === traceId && trace.spanId !== parentId && trace.flags === flags
  })
  t.doesNotThrow(() => fc.assert(property))
  const future = continueTrace('cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings')
  t.equal(future.traceId, '0af7651916cd43dd8448eb211c80319c')
})

t.test('starts a new trace for an invalid header', async (t) => {
  const id = '0af7651916cd43dd8448eb211c80319c'
  const malformed = [
    undefined,
    null,
    '',
    'x',
    `00-${id}-b7ad6b7169203331`,
    `00-${id.toUpperCase()}-b7ad6b7169203331-01`,
    `ff-${id}-b7ad6b7169203331-01`,
    `00-${id}-0000000000000000-01`,
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `00-${id}-b7ad6b7169203331-01-more`,
    `00-${id}-b7ad6b7169203331-01\n`,
    ` 00-${id}-b7ad6b7169203331-01`
  ]
  for (const header of malformed) {
    const trace = continueTrace(header)
    t.match(traceparent(trace), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    t.not(trace.traceId, id, String(header))
  }
})

t.test('generates unique ids', async (t) => {
  const ids = new Set(
    Array.from({ length: 5000 }, () => newTrace()).flatMap(({ traceId, spanId }) => [traceId, spanId])
  )
  t.equal(ids.size, 10_000)
  const trace = newTrace()
  t.equal(childSpan(trace).traceId, trace.traceId)
  t.not(childSpan(trace).spanId, trace.spanId)
})
