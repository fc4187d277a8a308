/** The metrics of the running product: every metric of rules and dashboards exists, from the first scrape on. */

import t from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { missingMetrics } from './metrics-used.ts'
import { createProduct, newAddress, password, type ServiceName } from './support/product.ts'

// Without a certificate, its metrics have no series.
const product = await createProduct(t, { RPC_TLS_CA: createTestCa(t).ca })
await product.startAll()
product.start('log-sink')
await until('log-sink is ready', () => product.isReady('log-sink'))

const services: ServiceName[] = ['gateway', 'user-svc', 'session-svc', 'log-sink']
const scrape = () => Promise.all(services.map(async (name) => (await product.ops(name, '/metrics')).text()))
const value = (pages: string[], series: string) => {
  const line = pages.flatMap((page) => page.split('\n')).find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

t.test('exports every metric of the rules and dashboards before the first request', async (t) => {
  t.same(missingMetrics(await scrape()), [])
})

t.test('counts requests by route, result and code', async (t) => {
  const email = newAddress()
  const { body } = await product.call('POST', '/reg', { json: { email, password } })
  await product.call('POST', '/auth', { json: { email, password } })
  await product.call('POST', '/auth', { json: { email, password: 'wrong password' } })
  await product.call('GET', '/session', { token: body.session.token })
  await product.call('GET', '/session', { token: 'garbage' })
  const pages = await scrape()
  const expected = {
    'http_request_duration_seconds_count{method="POST",route="/reg",status_code="201"}': 1,
    'http_request_duration_seconds_count{method="GET",route="/session",status_code="401"}': 1,
    'auth_registrations_total{result="ok"}': 1,
    'auth_logins_total{result="ok"}': 1,
    'auth_logins_total{result="rejected"}': 1,
    'auth_logins_total{result="error"}': 0,
    auth_sessions_created_total: 2,
    'auth_session_validations_total{result="valid"}': 1,
    auth_password_hash_seconds_count: 3,
    'request_errors_total{error_class="client",code="unauthenticated"}': 2,
    'request_errors_total{error_class="server",code="unavailable"}': 0,
    'grpc_server_handled_total{grpc_service="user.v1.UserService",grpc_method="AuthenticateAndLogin",grpc_code="unauthenticated"}': 1,
    'dependency_up{dependency="postgres"}': 1
  }
  for (const [series, count] of Object.entries(expected)) t.equal(value(pages, series), count, series)
})
