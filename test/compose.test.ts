/** Holds compose.yaml against the code: commands, configuration, ports, health checks, and what keeps it closed. */

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { parse as parseYaml } from 'yaml'
import { keyPaths } from '#common/config/catalogue.ts'
import type { Key } from '#common/config/keys.ts'
import { environmentName, forEachKey, loadConfig, type Schema } from '#common/config/load.ts'
import { kafka, log, shutdown } from '#common/config/shared-sections.ts'
import { schema as gateway } from '../gateway/config.ts'
import { schema as logSink } from '../log-sink/config.ts'
import { schema as sessionSvc } from '../session-svc/config.ts'
import { schema as whole } from '../stack/config.ts'
import { containedJvm, kafkaImage, settingVariable, singleBroker } from '../stack/engines/kafka.ts'
import { postgresImage } from '../stack/engines/postgres.ts'
import { redisImage } from '../stack/engines/redis.ts'
import { mallocOptions, services as stackServices } from '../stack/services.ts'
import { schema as userSvc } from '../user-svc/config.ts'

interface Service {
  image: string
  build?: string
  extends?: { file: string; service: string }
  command?: string[]
  environment?: Record<string, string | number>
  depends_on?: Record<string, { condition: string }>
  ports?: { target: number; host_ip: string }[]
  networks: string[]
  healthcheck?: { test: string[]; interval: string; start_period: string }
  profiles?: string[]
  volumes?: string[]
  tmpfs?: string[]
  restart?: string
  stop_grace_period?: string
  user?: string
  cap_drop?: string[]
  read_only?: boolean
  security_opt?: string[]
  logging?: { driver: string }
  mem_limit?: string
  pids_limit?: number
  cpu_shares?: number
  pull_policy?: string
}

interface Compose {
  services: Record<string, Service>
  networks: Record<string, { internal?: boolean; ipam?: { config: { subnet: string }[] } } | null>
  volumes: Record<string, null>
}

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const text = read('compose.yaml')
const compose = parseYaml(text, { merge: true }) as Compose
const services = Object.entries(compose.services)
const ourImage = compose.services.gateway?.image
const ours = services.filter(([, { image }]) => image === ourImage)
const defaults = loadConfig({ ...gateway, shutdown }, { CONFIG_FILE: '/dev/null' })
const longRunning = services.filter(([name]) => name !== 'migrate')

/** What compose puts in place of `${NAME:?message}` and `${NAME:-default}`, given the example's secrets. */
function interpolate(value: string | number, secret = 'dummy'): string {
  return String(value)
    .replaceAll(/\$\{\w+:\?[^}]*\}/g, secret)
    .replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1')
}

const megabytes = (limit: string) => Number.parseInt(limit, 10) * (limit.endsWith('g') ? 1024 : 1)

const schemas: Record<string, Schema> = {
  gateway,
  'log-sink': logSink,
  migrate: userSvc,
  'session-svc': sessionSvc,
  'user-svc': userSvc
}

function keysByName(schema: Schema): Map<string, { path: string; key: Key<unknown> }> {
  const keys = new Map<string, { path: string; key: Key<unknown> }>()
  forEachKey(schema, (path, key) => keys.set(environmentName(path), { path, key }))
  return keys
}
const allKeys = keysByName(whole)

t.test('dclint finds nothing', async (t) => {
  const dclint = join(root, 'node_modules/.bin/dclint')
  const args = ['compose.yaml', 'compose.two.yaml', '--max-warnings', '0']
  const { status, stdout } = spawnSync(dclint, args, { cwd: root, encoding: 'utf8' })
  if (status !== 0) t.comment(stdout)
  t.equal(status, 0)
})

t.test('every image is pinned to one release', async (t) => {
  const { version } = JSON.parse(read('package.json'))
  for (const [name, { image }] of services) {
    if (image === ourImage) t.equal(image, `auth-backend:${version}`, `${name} is of this version`)
    else t.match(image, /^[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?(@sha256:[0-9a-f]{64})?$/, name)
  }
  const { kafka, postgres, redis } = compose.services
  const engines = [kafka?.image, postgres?.image, redis?.image]
  t.same(engines, [kafkaImage, postgresImage, redisImage], 'the engines are those that `make run` starts')
})

t.test('one service builds the image, and `up` alone builds none again', async (t) => {
  t.equal(ours.length, 5)
  for (const [name, { build, pull_policy }] of services) {
    t.equal(build, name === 'migrate' ? '.' : undefined, `whether ${name} builds`)
    if (ourImage === compose.services[name]?.image)
      t.equal(pull_policy, name === 'migrate' ? 'missing' : 'never', `${name} asks no registry`)
  }
})

t.test('Kafka has the settings that `make run` gives it', async (t) => {
  const { environment = {} } = compose.services.kafka as Service
  for (const [key, value] of Object.entries(singleBroker))
    t.equal(String(environment[settingVariable(key)]), value, key)
  for (const [name, value] of Object.entries(containedJvm)) t.equal(environment[name], value, name)
})

t.test('with two instances, every caller knows both, and the balancer notices a stop in time', async (t) => {
  // The tag says that a list replaces the one of compose.yaml.
  const customTags = [{ tag: '!reset', collection: 'seq' as const }]
  const two = parseYaml(read('compose.two.yaml'), { merge: true, customTags }) as Compose
  const { balancer, ...others } = two.services
  for (const name of ['gateway', 'log-sink', 'session-svc', 'user-svc']) {
    t.same(others[`${name}-2`]?.extends, { file: 'compose.yaml', service: name }, `${name}-2 is as ${name}`)
    if (name === 'log-sink') continue
    for (const service of [others[name], others[`${name}-2`]] as Service[]) {
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
  t.match(balancer?.mem_limit, /^\d+m$/)
  const { gateway } = compose.services
  for (const key of ['cap_drop', 'read_only', 'security_opt', 'logging', 'pids_limit', 'restart', 'ports'] as const)
    t.same(balancer?.[key], gateway?.[key], `${key} of the balancer is that of the gateway`)
  t.same(balancer?.networks, ['edge'])
  t.match(balancer?.image, /^haproxy:\d+\.\d+\.\d+$/, 'the image is pinned to one release')
  const settings = read('ops/haproxy.cfg')
  t.match(settings, /check port 9464 inter 500ms fall 1/)
  const serverTimeoutMs = Number(/timeout server (\d+)s/.exec(settings)?.[1]) * 1000
  for (const [route, budget] of Object.entries(defaults.gateway.budgets))
    t.ok(serverTimeoutMs > budget, `the balancer waits longer than the gateway for ${route}`)
})

t.test('no container may do more than it needs', async (t) => {
  for (const [name, service] of services) {
    t.same(service.cap_drop, ['ALL'], `${name} has no capability`)
    t.equal(service.read_only, true, `${name} cannot write its own files`)
    t.same(service.security_opt, ['no-new-privileges:true'], `${name} can get no privileges`)
    t.match(service.user, /^(?!root\b|0\b)\w+$/, `${name} is not root`)
    t.ok(service.logging?.driver, `the log of ${name} is rotated`)
    t.ok(service.pids_limit, `${name} cannot fill the table of processes`)
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
    t.equal(open.length, ports.length, `${name} is on an open network only to be published`)
  }
})

t.test('every service runs and waits for what it needs', async (t) => {
  for (const [name, { command = [], depends_on = {} }] of ours) {
    const [node, ...options] = command.slice(0, -1)
    const entry = command.at(-1) ?? ''
    t.equal(node, 'node', name)
    t.ok(existsSync(join(root, entry)), `${entry} exists`)
    const heap = stackServices.find((each) => each.name === name)?.heapOptions ?? []
    t.same(options, heap, `the heap of ${name} is that of make run`)
    for (const [needed, { condition }] of Object.entries(depends_on)) {
      const expected =
        { migrate: 'service_completed_successfully', kafka: 'service_started' }[needed] ?? 'service_healthy'
      t.equal(condition, expected, `${name} waits until ${needed} is ready`)
    }
  }
  t.ok('migrate' in (compose.services['user-svc']?.depends_on ?? {}))
  t.equal(compose.services.migrate?.restart, undefined, 'the migration runs once')
})

t.test('without Kafka every service starts, except log-sink', async (t) => {
  function waitsFor(name: string): string[] {
    const needed = Object.keys(compose.services[name]?.depends_on ?? {})
    return [...needed, ...needed.flatMap(waitsFor)]
  }
  for (const [name] of ours) {
    t.equal(waitsFor(name).includes('kafka'), name === 'log-sink', `whether ${name} waits for Kafka`)
    t.notOk(waitsFor(name).includes('log-sink'), `${name} does not wait for log-sink`)
  }
})

t.test('log-sink and the hashes of user-svc yield the CPU to the other services', async (t) => {
  const background = services.filter(([, { cpu_shares }]) => cpu_shares !== undefined)
  t.same(
    background.map(([name, { cpu_shares }]) => [name, cpu_shares]),
    [
      ['log-sink', 110],
      ['user-svc', 335]
    ]
  )
  t.ok(stackServices.every(({ name, isBackground = false }) => isBackground === (name === 'log-sink')))
})

t.test('memory is freed as it is under make run', async (t) => {
  const dockerfile = read('Dockerfile')
  for (const [name, value] of Object.entries(mallocOptions)) t.ok(dockerfile.includes(`\nENV ${name}=${value}\n`), name)
})

t.test('a service keeps its lines in a volume of its own until Kafka has them', async (t) => {
  const made = /^RUN install -d -o node -g node -m 700 (.+)$/m.exec(read('Dockerfile'))?.[1]?.split(' ') ?? []
  const owners = new Map<string, string>()
  for (const [name, { environment = {}, networks, volumes = [] }] of ours) {
    const written = volumes.map((volume) => volume.split(':')).filter(([, , mode]) => mode !== 'ro')
    for (const [source = '', target] of written) {
      t.notOk(owners.has(source), `${source} belongs to ${name} alone`)
      owners.set(source, name)
      t.ok(
        made.some((path) => resolve('/app', path) === target),
        `a new ${source} is writable: the image has ${target}`
      )
    }
    const targets = written.map(([, target]) => target)
    if (name === 'migrate') {
      t.same(targets, [], 'the migration writes to no disk')
      continue
    }
    const values = Object.entries(environment).map(([variable, value]) => [variable, interpolate(value)])
    const config = loadConfig(
      { log, kafka, ...(name === 'log-sink' && { logSink: logSink.logSink }) },
      { ...Object.fromEntries(values), CONFIG_FILE: join(root, 'config.yml') },
      { otherKeys: keyPaths }
    ) as { kafka: { brokers: string[] }; log: { spool: { directory: string } }; logSink?: { directory: string } }
    const directories = [config.log.spool.directory, ...(config.logSink ? [config.logSink.directory] : [])]
    t.same(
      targets.toSorted(),
      directories.map((path) => resolve('/app', path)).toSorted(),
      `what ${name} writes is kept`
    )
    t.same(config.kafka.brokers, ['kafka:9092'], `${name} ships its lines`)
    t.ok(networks.includes('kafka'), `${name} reaches Kafka`)
  }
  t.match(compose.services['log-sink']?.tmpfs, [/^\/tmp:/], 'what shows the collected logs can sort them')
})

t.test('what keeps running has a health check and is started again', async (t) => {
  const grace = (defaults.shutdown.timeout + defaults.shutdown.drainDelay) / 1000
  for (const [name, service] of longRunning) {
    t.equal(service.healthcheck?.interval, '2s', `${name} is looked at`)
    t.ok(service.healthcheck?.test, `${name} is looked at`)
    t.equal(service.restart, 'unless-stopped', `${name} is started again`)
    t.equal(service.healthcheck?.start_period, '180s', `${name} may be slow on a busy machine`)
    if (service.image === ourImage)
      t.ok(Number.parseInt(service.stop_grace_period ?? '0', 10) > grace, `${name} has time to stop`)
  }
})

t.test('each service gets what it reads and nothing else', async (t) => {
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

t.test('ports and addresses fit together', async (t) => {
  const prometheus = parseYaml(read('ops/prometheus/prometheus.yml')) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[]
  }
  const running = ours.filter(([name]) => name !== 'migrate')
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

t.test('there is no secret in it, and every one that it asks for is in the example', async (t) => {
  for (const [name, { environment = {} }] of services) {
    for (const [variable, value] of Object.entries(environment)) {
      if (allKeys.get(variable)?.key.sensitive && !/_(USER|SESSION)_SVC_URL$|^KAFKA_BROKERS$/.test(variable)) {
        t.match(value, /\$\{\w+:(\?.+|-)\}/, `${variable} of ${name} comes from outside`)
      }
      if (/PASSWORD$|AUTH$|TOKEN$/.test(variable) && variable !== 'RPC_PREVIOUS_TOKEN') {
        t.match(value, /^\$\{\w+:\?is missing in \.env, make one with "openssl [^"]+"\}$/, `${variable} of ${name}`)
      }
    }
  }
  for (const [, password] of text.matchAll(/:\/\/\w*:([^@\s]*)@/g)) t.match(password, /^\$\{\w+:\?[^}]+\}$/, 'of a URL')

  const example = read('ops/env.example')
  const given = new Map([...example.matchAll(/^#?([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]))
  const required = [...text.matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name)
  const optional = [...text.matchAll(/\$\{(\w+):-([^}]*)\}/g)]
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
