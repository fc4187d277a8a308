/** The credentials that a service presents and accepts: which must be set, and which values production refuses. */

import t from 'tap'
import { requireAcceptedCallers, requirePresentedCredential } from '#common/config/caller-credentials.ts'

const strong = ['q7Xc2LrV9ZkTt3WmE8nB5yHgUj4PsDfA', 'Zk8vRw3QyLp6XnTb2MdCf9HsGj5VaEuK'] as const
const none = { token: '', previousToken: '', ownToken: '', callers: [] as string[] }

function messageOf(check: () => void): string {
  try {
    check()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

t.test('a service presents rpc.ownToken, or else rpc.token, or else its certificate', (t) => {
  const problem = (rpc: Partial<typeof none> & { tls?: { cert: string } }, NODE_ENV = 'production') =>
    messageOf(() => requirePresentedCredential({ ...none, ...rpc }, { NODE_ENV }))
  t.equal(problem({ ownToken: strong[0] }), '')
  t.equal(problem({ token: strong[0] }), '')
  t.equal(problem({ tls: { cert: '/tls.crt' } }), '')
  t.match(problem({}), /^rpc\.token: is missing/)
  t.match(problem({ tls: { cert: '' } }), /^rpc\.token: is missing/)
  t.match(problem({ ownToken: 'short', tls: { cert: '/tls.crt' } }), /^rpc\.ownToken: is shorter/)
  t.match(problem({ ownToken: 'short', token: strong[0] }), /^rpc\.ownToken: is shorter than 32/)
  t.equal(problem({ ownToken: 'short' }, 'development'), '')
  t.end()
})

t.test('a service accepts rpc.callers, rpc.token, or both', (t) => {
  const problem = (
    rpc: Partial<typeof none> & { adminToken?: string; tls?: { clientCert: string } },
    NODE_ENV = 'production'
  ) => messageOf(() => requireAcceptedCallers({ ...none, ...rpc }, { NODE_ENV }))
  const [first, second] = strong
  t.equal(problem({ token: first }), '')
  t.equal(problem({ callers: [`gateway:${first}`, '', `shop:${second}:validation`] }), '')
  t.match(problem({}), /^rpc\.token: is missing/)
  t.match(problem({ callers: [''] }), /^rpc\.token: is missing/)
  t.match(
    problem({ callers: [`gateway:${first}`, 'shop:short:validation'] }),
    /^rpc\.callers: entry 2 has a token that/
  )
  t.match(problem({ callers: [`shop:${first}`] }), /^rpc\.callers: entry 1 permits something .* \(RPC_CALLERS\)$/)
  const taken = /^rpc\.callers: entry 1 has the token of another caller/
  t.match(problem({ token: first, callers: [`gateway:${first}`] }), taken)
  t.match(problem({ adminToken: first, callers: [`gateway:${first}`] }), taken)
  t.match(problem({ callers: [`gateway:${first}`, `shop:${first}:validation`] }), /entry 2 has the token of another/)
  t.equal(problem({ callers: ['gateway:short'] }, 'development'), '')
  const byCertificate = ['gateway:cert-dns=gateway.internal', `gateway:${first}`]
  t.equal(problem({ callers: byCertificate, tls: { clientCert: 'request' } }), '')
  t.match(
    problem({ callers: byCertificate }),
    /entry 1 has a certificate; takes rpc\.tls\.clientCert request or require/
  )
  const twice = ['gateway:cert-dns=A.internal', 'shop:cert-dns=a.internal:validation']
  t.match(problem({ callers: twice, tls: { clientCert: 'require' } }), /entry 2 has the certificate of another caller/)
  t.end()
})
