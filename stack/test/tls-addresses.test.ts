/** `make run` with certificates: the addresses that it prints, and the URLs and settings of the services, have TLS. */

import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { schema } from '../config.ts'
import { playgroundUrl } from '../playground-url.ts'
import { rpcUrls } from '../service-environment.ts'

const configured = (variables: Record<string, string>) => loadConfig(schema, { CONFIG_FILE: '/dev/null', ...variables })

t.test('addresses have https where a certificate is configured', async (t) => {
  const plain = configured({})
  t.equal(playgroundUrl(plain, 8080), 'http://localhost:8080/playground')
  t.equal(rpcUrls('userSvc', plain, [1, 2]), 'http://127.0.0.1:1,http://127.0.0.1:2')
  const rest = configured({ GATEWAY_TLS_CERT: '/tls/gateway.pem', GATEWAY_TLS_KEY: '/tls/gateway.key' })
  t.equal(playgroundUrl(rest, 8080), 'https://localhost:8080/playground')
  t.equal(rpcUrls('userSvc', rest, [1]), 'http://127.0.0.1:1')
  const rpc = configured({ RPC_TLS_CERT: '/tls/service.pem', RPC_TLS_KEY: '/tls/service.key' })
  t.equal(playgroundUrl(rpc, 8080), 'http://localhost:8080/playground')
  t.equal(rpcUrls('sessionSvc', rpc, [1, 2]), 'https://127.0.0.1:1,https://127.0.0.1:2')
})
