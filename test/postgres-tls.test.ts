/** PostgreSQL by TLS, on a real server: what user-svc accepts, what it refuses and why, and certificates that are replaced. */

import { sql } from 'drizzle-orm'
import t, { type Test } from 'tap'
import { reasonOf } from '#common/ops/probe.ts'
import { createTestCa, expired, replaceFiles } from '#common/testing/certificates.ts'
import { connectDatabase } from '../user-svc/database.ts'
import { startTlsPostgres } from './support/tls-postgres.ts'

t.setTimeout(120_000)

const [ca, other] = [createTestCa(t), createTestCa(t, 'other')]
const { urlOf, password, replaceCertificate } = await startTlsPostgres(t, ca)
const verified = { sslmode: 'verify-full', sslrootcert: ca.ca }

function pool(t: Pick<Test, 'teardown'>, url: string) {
  const database = connectDatabase({ url, maxConnections: 1, queryTimeout: 2000 })
  t.teardown(database.close)
  return database
}

/** The version of TLS, or the reason of readiness. */
async function outcome(t: Pick<Test, 'teardown'>, url: string): Promise<string> {
  const text = sql`select coalesce(version, 'plaintext') as version from pg_stat_ssl where pid = pg_backend_pid()`
  return pool(t, url)
    .db.execute(text)
    .then(({ rows }) => String(rows[0]?.version), reasonOf)
}

t.test('connects by TLS, as sslmode requires', async (t) => {
  for (const [parameters, host] of [
    [verified],
    [{ ...verified, channel_binding: 'require' }],
    [{ ...verified, sslnegotiation: 'direct' }],
    [{ sslmode: 'verify-ca', sslrootcert: ca.ca }, '127.0.0.1'],
    [{ sslmode: 'require' }, '127.0.0.1']
  ] as const) {
    t.equal(await outcome(t, urlOf('password', parameters, host)), 'TLSv1.3', JSON.stringify(parameters))
  }
  const { cert: sslcert, key: sslkey } = ca.issue('certified')
  t.equal(await outcome(t, urlOf('certified', { ...verified, sslcert, sslkey })), 'TLSv1.3')
})

t.test('refuses another host, another CA and plaintext, and readiness has the reason without a secret', async (t) => {
  const unknownCa =
    /^cannot be used: its certificate is of an unknown CA \((SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)\)$/
  const by = ({ cert: sslcert, key: sslkey }: ReturnType<typeof ca.issue>) => ({ ...verified, sslcert, sslkey })
  for (const [what, url, reason] of [
    ['wrong host', urlOf('password', verified, '127.0.0.1'), /another host \(ERR_TLS_CERT_ALTNAME_INVALID\)$/],
    ['wrong CA', urlOf('password', { ...verified, sslrootcert: other.ca }), unknownCa],
    ['wrong CA without the host', urlOf('password', { sslmode: 'require', sslrootcert: other.ca }), unknownCa],
    ['the CAs of Node.js', urlOf('password', { sslmode: 'verify-full' }), unknownCa],
    ['plaintext', urlOf('password', { sslmode: 'disable' }, '127.0.0.1'), /^answers "28000 .*no encryption"/],
    ['no client certificate', urlOf('certified', verified), /^answers "28000 .*client certificate/],
    ['client certificate of another role', urlOf('certified', by(ca.issue('password'))), /^answers "28000 /],
    ['client certificate of another CA', urlOf('certified', by(other.issue('certified'))), /^cannot be|^does not work/],
    [
      'expired client certificate',
      urlOf('certified', by(ca.issue('certified', undefined, expired))),
      /^cannot be|^does not/
    ]
  ] as const) {
    const seen = await outcome(t, url)
    t.match(seen, reason, what)
    t.notMatch(seen, password)
  }
})

t.test('certificates that are replaced on disk are used by the next connection', async (t) => {
  const files = { cert: ca.file('used.pem'), key: ca.file('used.key') }
  replaceFiles(other.issue('certified'), files)
  const { db, checkNewConnection } = pool(
    t,
    urlOf('certified', { ...verified, sslcert: files.cert, sslkey: files.key })
  )
  const query = () => db.execute(sql`select 1`)
  await t.rejects(query())
  replaceFiles(ca.issue('certified'), files)
  await t.resolves(query())
  await replaceCertificate()
  await t.resolves(checkNewConnection())
})
