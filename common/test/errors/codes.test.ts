/** The table of error codes. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { allCodes, codeName, errorMeaning } from '#common/errors/codes.ts'

const promised: Record<string, [status: number, errorClass: 'client' | 'server']> = {
  canceled: [499, 'client'],
  unknown: [500, 'server'],
  invalid_argument: [400, 'client'],
  deadline_exceeded: [504, 'server'],
  not_found: [404, 'client'],
  already_exists: [409, 'client'],
  permission_denied: [403, 'client'],
  resource_exhausted: [429, 'client'],
  failed_precondition: [400, 'client'],
  aborted: [409, 'client'],
  out_of_range: [400, 'client'],
  unimplemented: [501, 'server'],
  internal: [500, 'server'],
  unavailable: [503, 'server'],
  data_loss: [500, 'server'],
  unauthenticated: [401, 'client']
}

t.test('has a row for every code of the protocol', async (t) => {
  const codes = Object.values(Code).filter((code) => typeof code === 'number')
  t.equal(codes.length, 16)
  t.same([...allCodes].sort(), [...codes].sort())
  t.same(codes.map(codeName).sort(), Object.keys(promised).sort())
})

for (const code of allCodes) {
  const { name, status, errorClass, logLevel, title } = errorMeaning(code)
  t.test(name, async (t) => {
    t.equal(name, Code[code]?.replaceAll(/(?<=[a-z])([A-Z])/g, '_$1').toLowerCase(), 'named as on the wire')
    t.same([status, errorClass], promised[name])
    t.equal(logLevel, errorClass === 'client' ? 'info' : 'error')
    t.match(title, /^[A-Z][a-z ]+$/)
  })
}
