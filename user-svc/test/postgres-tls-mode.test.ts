/** Production and the driver read the TLS parameters of a URL of PostgreSQL in the same way, in all combinations. */

import t from 'tap'
import { insecureConnections } from '#common/config/connections.ts'
import { createTestCa } from '#common/testing/certificates.ts'
import { postgresAddress } from '../postgres-url.ts'

const testCa = createTestCa(t)
const { cert, key } = testCa.issue('client')
const choices = [
  ['', 'sslmode=disable', 'sslmode=require', 'sslmode=no-verify', 'sslmode=verify-ca', 'sslmode=verify-full'],
  ['', 'ssl=true', 'ssl=false', 'ssl=1', 'ssl=0', 'ssl=no-verify'],
  ['', 'sslrootcert=', 'sslrootcert=system', `sslrootcert=${testCa.ca}`],
  ['', 'sslcert=&sslkey=', `sslcert=${cert}&sslkey=${key}`],
  ['', 'sslnegotiation=direct']
]
const combinations = choices.reduce<string[][]>(
  (all, next) => all.flatMap((parameters) => next.map((each) => [...parameters, each])),
  [[]]
)

/** How the driver connects; undefined if the start rejects the URL. */
function connectionOf(url: string): 'verified' | 'unverified' | undefined {
  let ssl: ReturnType<typeof postgresAddress>['ssl']
  try {
    ssl = postgresAddress(url).ssl
  } catch {
    return undefined
  }
  if (typeof ssl !== 'object' || ssl.rejectUnauthorized === false) return 'unverified'
  const hasReference = ssl.checkServerIdentity === undefined || ssl.ca !== undefined
  return hasReference ? 'verified' : 'unverified'
}

t.test('production accepts a URL of another host exactly if the driver checks the certificate', async (t) => {
  const found = new Set<string | undefined>()
  for (const parameters of combinations.map((each) => each.filter((part) => part !== '').join('&'))) {
    const url = `postgres://user:password@db.example${parameters && `?${parameters}`}`
    const connection = connectionOf(url)
    found.add(connection)
    if (connection === undefined) continue
    const config = { security: { allowPlaintext: false }, userSvc: { postgres: { url, migrationUrl: '' } } }
    const isAccepted = insecureConnections(config).length === 0
    if (isAccepted !== (connection === 'verified')) t.fail(`${parameters} is ${connection}`)
  }
  t.same(found, new Set(['verified', 'unverified', undefined]))
})
