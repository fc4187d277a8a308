/** compose.yaml: permissions, published ports, networks, environments and secrets. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse as parseYaml } from 'yaml'
import { keyPaths } from '#common/config/catalogue.ts'
import type { ProductionConfig } from '#common/config/connections.ts'
import { loadConfig, type Schema } from '#common/config/load.ts'
import { requireProduction } from '#common/config/production.ts'
import type { Role } from '#common/rpc/callers.ts'
import { schema as gateway } from '../gateway/config.ts'
import { schema as logSink } from '../log-sink/config.ts'
import { schema as sessionSvc } from '../session-svc/config.ts'
import { schema as whole } from '../stack/config.ts'
import { kafkaUsers } from '../stack/engines/kafka-users.ts'
import { schema as userSvc } from '../user-svc/config.ts'
import { productionWarnings } from '../user-svc/production-warnings.ts'
import { allKeys, compose, interpolate, jobs, keysByName, ours, read, root, services } from './support/compose-file.ts'
import { composeVariables } from './support/secret-names.ts'

const megabytes = (limit: string) => Number.parseInt(limit, 10) * (limit.endsWith('g') ? 1024 : 1)

type Warned = Parameters<typeof productionWarnings>[0]

const kafkaVariable = (user: string) => `KAFKA_${user.replaceAll('-', '_').toUpperCase()}_PASSWORD`

const schemas: Record<string, Schema> = {
  gateway,
  'kafka-access': logSink,
  'log-sink': logSink,
  migrate: userSvc,
  'session-svc': sessionSvc,
  'user-svc': userSvc
}

t.test('containers have no unneeded permissions', async (t) => {
  for (const [name, service] of services) {
    t.same(service.cap_drop, ['ALL'], `${name} has no capability`)
    t.equal(service.read_only, true, `${name} cannot write its own files`)
    t.same(service.security_opt, ['no-new-privileges:true'], `${name} can get no privileges`)
    t.match(service.user, /^(?!root\b|0\b)\w+$/, `${name} is not root`)
    t.ok(service.logging?.driver, `the log of ${name} is rotated`)
    t.ok(service.pids_limit, `${name} has a limit of processes`)
    t.match(service.mem_limit, /^\d+[mg]$/, `the memory of ${name} is limited`)
    const [heapMb = 256] =
      service.command?.flatMap((word) => /^--max-old-space-size=(\d+)$/.exec(word)?.slice(1).map(Number) ?? []) ?? []
    t.ok(megabytes(service.mem_limit ?? '') >= 1.5 * heapMb, `the heap of ${name} fits into its memory`)
    for (const mount of service.tmpfs ?? []) t.match(mount, /[:,]size=\d+m/, `${mount} of ${name} is limited`)
    for (const volume of service.volumes ?? []) {
      const [source = '', , mode] = volume.split(':')
      if (source.startsWith('./')) {
        t.ok(existsSync(join(root, source)), `${source} exists`)
        t.equal(mode, 'ro', `${name} cannot write ${source}`)
      } else t.ok(source in compose.volumes, `${source} is a volume`)
    }
  }
})

t.test('only the gateway is published, and Grafana to this machine', async (t) => {
  const published = services.filter(([, { ports }]) => ports !== undefined)
  t.same(
    published.map(([name]) => name),
    ['gateway', 'grafana']
  )
  t.same(
    compose.services.gateway?.ports?.map(({ target }) => target),
    [whole.gateway.port.default]
  )
  t.same(compose.services.grafana?.profiles, ['monitoring'])
  for (const [name, { ports = [], networks }] of services) {
    for (const { host_ip } of ports)
      t.equal(interpolate(host_ip), '127.0.0.1', `${name} is published to this machine only`)
    for (const network of networks) t.ok(network in compose.networks, `${network} is a network`)
    const open = networks.filter((network) => compose.networks[network]?.internal !== true)
    const outgoing = name === 'user-svc' ? ['mail'] : []
    t.same(
      open.filter((network) => network === 'mail'),
      outgoing,
      `${name} and the network of the mail server`
    )
    t.equal(open.length, ports.length + outgoing.length, `${name} is on an open network only to be published`)
  }
})

t.test('the environment of each service has only keys that it reads', async (t) => {
  for (const [name, { environment = {} }] of ours) {
    const own = keysByName(schemas[name] as Schema)
    for (const variable of Object.keys(environment)) {
      t.ok(allKeys.has(variable), `${variable} is a key`)
      t.ok(own.has(variable), `${name} reads ${variable}`)
    }
    const texts = Object.entries(environment).map(([variable, value]) => [variable, interpolate(value)])
    const config = { ...Object.fromEntries(texts), CONFIG_FILE: join(root, 'config.yml') }
    t.doesNotThrow(() => loadConfig(schemas[name] as Schema, config, { otherKeys: keyPaths }), `${name} starts with it`)
  }
})

t.test('production accepts the secrets that the command of env.example makes', async (t) => {
  const [, command = ''] = /^# +(\(umask 077; .+\))$/m.exec(read('ops/env.example')) ?? []
  const folder = mkdtempSync(join(tmpdir(), 'compose-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const make = () => {
    const made = spawnSync('sh', ['-c', command], { cwd: folder, encoding: 'utf8' })
    t.equal(made.status, 0, made.stderr)
    t.equal(statSync(join(folder, '.env')).mode & 0o777, 0o600, 'only its owner can read it')
    return readFileSync(join(folder, '.env'), 'utf8')
  }
  const earlier = 'GRAFANA_PASSWORD=\nUSER_SVC_PASSWORD_PEPPERS=a:kept\nPOSTGRES_PASSWORD=kept'
  writeFileSync(join(folder, '.env'), earlier)
  const completed = make()
  t.ok(completed.startsWith(`${earlier}\n`), 'an existing file keeps its values')
  t.match(completed, /^GRAFANA_PASSWORD=\w+$/m)
  t.equal(completed.match(/^POSTGRES_PASSWORD=/gm)?.length, 1)
  t.equal(make(), completed, 'and a complete file stays the same')
  rmSync(join(folder, '.env'))
  const lines = make().trim().split('\n')
  const variables = Object.fromEntries(lines.map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]))
  const roles: Record<string, Role> = { gateway: 'gateway', 'user-svc': 'user-svc' }
  for (const [name, { environment = {} }] of ours) {
    const schema = schemas[name] as Schema
    const texts = Object.entries(environment).map(([variable, value]) => [variable, interpolate(value, variables)])
    const env: NodeJS.ProcessEnv = { ...Object.fromEntries(texts), NODE_ENV: 'production', CONFIG_FILE: '/dev/null' }
    // Of it, the job needs the user name only.
    if (name === 'migrate') env.USER_SVC_POSTGRES_URL = ''
    const config = loadConfig(schema, env, { otherKeys: keyPaths }) as unknown as ProductionConfig & Warned
    const role = roles[name]
    t.doesNotThrow(() => requireProduction(config, { schema, ...(role && { role }), environment: env }), name)
    if (name !== 'user-svc') continue
    const events = productionWarnings(config, env).map(({ event }) => event)
    t.same(events, ['short_passwords_accepted'], 'devices get tokens, and events are signed')
  }
})

t.test('each container has only its own secrets', async (t) => {
  const secrets = new Set(composeVariables())
  const secretsOf = (name: string) => {
    const text = JSON.stringify(compose.services[name]?.environment ?? {})
    const variables = [...text.matchAll(/\$\{(\w+)/g)].map(([, variable = '']) => variable)
    return [...new Set(variables)].filter((variable) => secrets.has(variable)).sort()
  }
  const kafkaPasswords = kafkaUsers.map((user) => (user === 'admin' ? 'KAFKA_PASSWORD' : kafkaVariable(user)))
  const expected = {
    gateway: ['KAFKA_GATEWAY_PASSWORD', 'REDIS_GATEWAY_PASSWORD', 'RPC_GATEWAY_TOKEN'],
    grafana: ['GRAFANA_PASSWORD'],
    kafka: kafkaPasswords.sort(),
    'kafka-access': ['KAFKA_PASSWORD'],
    'log-sink': ['KAFKA_LOG_SINK_PASSWORD'],
    migrate: ['POSTGRES_OWNER_PASSWORD'],
    postgres: ['POSTGRES_PASSWORD'],
    'postgres-roles': ['POSTGRES_OWNER_PASSWORD', 'POSTGRES_PASSWORD', 'POSTGRES_SERVICE_PASSWORD'],
    prometheus: [],
    redis: ['REDIS_GATEWAY_PASSWORD', 'REDIS_PASSWORD', 'REDIS_SESSION_SVC_PASSWORD'],
    'session-svc': [
      'KAFKA_SESSION_SVC_PASSWORD',
      'REDIS_SESSION_SVC_PASSWORD',
      'RPC_GATEWAY_TOKEN',
      'RPC_PREVIOUS_TOKEN',
      'RPC_SESSION_SVC_CALLERS',
      'RPC_TOKEN',
      'RPC_USER_SVC_TOKEN'
    ],
    'user-svc': [
      'KAFKA_USER_SVC_PASSWORD',
      'MAIL_KEYS',
      'MAIL_URL',
      'POSTGRES_SERVICE_PASSWORD',
      'RPC_ADMIN_TOKEN',
      'RPC_GATEWAY_TOKEN',
      'RPC_PREVIOUS_ADMIN_TOKEN',
      'RPC_PREVIOUS_TOKEN',
      'RPC_TOKEN',
      'RPC_USER_SVC_CALLERS',
      'RPC_USER_SVC_TOKEN',
      'USER_SVC_BRUTE_FORCE_DEVICE_KEYS',
      'USER_SVC_EVENT_KEYS',
      'USER_SVC_PASSWORD_PEPPERS'
    ]
  }
  t.same(Object.fromEntries(services.map(([name]) => [name, secretsOf(name)])), expected)
  for (const [name, { environment = {}, init }] of services) {
    if ('RPC_CALLERS' in environment)
      t.match(init, /^true\$\{RPC_CALLERS:\+.*RPC_SESSION_SVC_CALLERS/, `${name}, of an old .env`)
  }
  for (const [name, { command = [] }] of services)
    t.notMatch(command.join(' '), /\$\{\w*(PASSWORD|TOKEN)/, `the command line of ${name} has no secret`)
})

t.test('ports, addresses and networks match', async (t) => {
  const prometheus = parseYaml(read('ops/prometheus/prometheus.yml')) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[]
  }
  const running = ours.filter(([name]) => !jobs.has(name))
  t.same(
    prometheus.scrape_configs.map(({ job_name }) => job_name).toSorted(),
    running.map(([name]) => name).toSorted(),
    'Prometheus scrapes every service'
  )
  for (const [name, { environment = {}, healthcheck }] of running) {
    const value = (key: string) => environment[`${name.replace('-', '_').toUpperCase()}_${key}`]
    const byDefault = (key: string) => allKeys.get(`${name.replace('-', '_').toUpperCase()}_${key}`)?.key.default
    t.equal(value('OPS_PORT'), byDefault('OPS_PORT'), `ops port of ${name}`)
    t.equal(value('PORT'), byDefault('PORT'), `port of ${name}`)
    t.equal(value('OPS_HOST'), '0.0.0.0', `${name} can be scraped`)
    t.equal(value('HOST'), byDefault('HOST') && '0.0.0.0', `${name} can be reached`)
    t.match(healthcheck?.test, ['CMD', 'bash', '-c', /GET \/readyz /, String(value('OPS_PORT'))], `health of ${name}`)
    const job = prometheus.scrape_configs.find(({ job_name }) => job_name === name)
    t.same(job?.static_configs, [{ targets: [`${name}:${value('OPS_PORT')}`] }], `Prometheus finds ${name}`)
  }
  const subnet = interpolate(compose.networks.edge?.ipam?.config[0]?.subnet ?? '')
  const gatewayOfEdge = subnet.replace(/0\/28$/, '1/32')
  t.ok(read('ops/env.example').includes(`GATEWAY_TRUSTED_PROXIES=${gatewayOfEdge}`), 'the example names the proxy')
  const enginePorts: Record<string, number> = {
    kafka: 9092,
    postgres: 5432,
    redis: 6379,
    'session-svc': 50052,
    'user-svc': 50051
  }
  for (const [name, { environment = {}, networks }] of ours) {
    const addresses = Object.values(environment).flatMap((value) => [
      ...interpolate(value).matchAll(/(?:\/\/|@|^)([a-z][a-z-]*):(\d+)(?=[/,]|$)/g)
    ])
    for (const [, host = '', port] of addresses) {
      t.equal(Number(port), enginePorts[host], `${name} reaches ${host} at its port`)
      const shared = compose.services[host]?.networks.some((network) => networks.includes(network))
      t.ok(shared, `${name} shares a network with ${host}`)
    }
  }
})

t.test('compose.yaml contains no secret, and env.example has every secret', async (t) => {
  for (const [name, { environment = {} }] of services) {
    for (const [variable, value] of Object.entries(environment)) {
      if (allKeys.get(variable)?.key.sensitive && !/_(USER|SESSION)_SVC_URL$|^KAFKA_BROKERS$/.test(variable)) {
        t.match(value, /\$\{\w+:(\?.+|-)\}|^postgres:\/\/\w+@/, `${variable} of ${name} comes from outside`)
      }
      if (/PASSWORD$|AUTH$|TOKEN$/.test(variable) && !/^RPC_((PREVIOUS_)?(ADMIN_)?)TOKEN$/.test(variable)) {
        t.match(value, /^\$\{\w+:\?is missing in \.env, make one with "openssl [^"]+"\}$/, `${variable} of ${name}`)
      }
      if (/_KEYS:\?/.test(String(value)))
        t.match(value, /:\?is missing in \.env, write "a:" and the output of "openssl rand -base64 32"\}$/, variable)
    }
  }
  for (const [, password] of read('compose.yaml').matchAll(/:\/\/\w*:([^@\s]*)@/g))
    t.match(password, /^\$\{\w+:\?[^}]+\}$/, 'of a URL')

  const example = read('ops/env.example')
  const given = new Map([...example.matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]))
  const required = [...read('compose.yaml').matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name)
  const optional = [...read('compose.yaml').matchAll(/\$\{(\w+):-([^}]*)\}/g)]
  for (const name of required) {
    t.equal(given.get(name), '', `the example has ${name}, without a value`)
    t.match(example, new RegExp(`for name in [A-Z_ ]*\\b${name}\\b`), `the example makes ${name}`)
  }
  for (const [, name = '', value] of optional)
    t.equal(given.get(name), value, `the example has ${name} and its default`)
  // Read by Compose itself.
  for (const name of ['COMPOSE_FILE', 'COMPOSE_PROFILES']) given.delete(name)
  t.same([...given.keys()].toSorted(), [...new Set([...required, ...optional.map(([, name = '']) => name)])].toSorted())
})
