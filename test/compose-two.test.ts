/** compose.two.yaml against compose.yaml and the code. */

import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { shutdown } from '#common/config/shared-sections.ts'
import { schema as gateway } from '../gateway/config.ts'
import { type ComposeService, compose, interpolate, read, two } from './support/compose-file.ts'

const { budgets } = loadConfig(gateway, { CONFIG_FILE: '/dev/null' }).gateway

t.test('callers list both instances, and the balancer notices a stop before it ends', async (t) => {
  const { balancer, ...others } = two.services
  for (const name of ['gateway', 'log-sink', 'session-svc', 'user-svc']) {
    t.same(others[`${name}-2`]?.extends, { file: 'compose.yaml', service: name }, `${name}-2 is as ${name}`)
    if (name === 'log-sink') continue
    for (const service of [others[name], others[`${name}-2`]] as ComposeService[]) {
      const { RPC_SESSION_SVC_URL, RPC_USER_SVC_URL, SHUTDOWN_DRAIN_DELAY = '' } = service.environment ?? {}
      t.equal(RPC_SESSION_SVC_URL, 'http://session-svc:50052,http://session-svc-2:50052', name)
      t.equal(RPC_USER_SVC_URL, 'http://user-svc:50051,http://user-svc-2:50051', name)
      const configured = loadConfig(
        { shutdown },
        { CONFIG_FILE: '/dev/null', SHUTDOWN_DRAIN_DELAY: String(SHUTDOWN_DRAIN_DELAY) }
      )
      const stopMs = configured.shutdown.timeout + configured.shutdown.drainDelay
      t.ok(Number.parseInt(service.stop_grace_period ?? '0', 10) * 1000 > stopMs, `${name} has time to stop`)
    }
  }
  const trusted = (variables = {}) =>
    ['gateway', 'gateway-2'].map((name) =>
      interpolate(others[name]?.environment?.GATEWAY_TRUSTED_PROXIES ?? '', variables)
    )
  const edge = interpolate(compose.networks.edge?.ipam?.config[0]?.subnet ?? '')
  t.same(trusted(), [edge, edge], 'the gateways trust the balancer')
  const proxies = { GATEWAY_TRUSTED_PROXIES: '192.0.2.1/32' }
  t.same(trusted(proxies), Array(2).fill(`192.0.2.1/32,${edge}`), 'and the proxies before it')
  t.equal(
    interpolate(balancer?.environment?.TRUSTED_PROXIES ?? '', proxies),
    '192.0.2.1/32',
    'which the balancer knows'
  )
  t.equal(interpolate(balancer?.environment?.EDGE_SUBNET ?? ''), edge, 'and the network that it trusts only in part')
  t.match(balancer?.mem_limit, /^\d+m$/)
  const { gateway } = compose.services
  for (const key of ['cap_drop', 'read_only', 'security_opt', 'logging', 'pids_limit', 'restart', 'ports'] as const)
    t.same(balancer?.[key], gateway?.[key], `${key} of the balancer is that of the gateway`)
  t.same(balancer?.networks, ['edge'])
  t.match(balancer?.image, /^haproxy:\d+\.\d+\.\d+$/, 'the image is pinned to one release')
  const settings = read('ops/haproxy.cfg')
  t.match(settings, /check port 9464 inter 500ms fall 1/)
  const serverTimeoutMs = Number(/timeout server (\d+)s/.exec(settings)?.[1]) * 1000
  for (const [route, budget] of Object.entries(budgets))
    t.ok(serverTimeoutMs > budget, `the balancer waits longer than the gateway for ${route}`)
})
