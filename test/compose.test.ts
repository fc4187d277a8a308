/** compose.yaml against the code: images, commands, dependencies, health checks, volumes. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { keyPaths } from '#common/config/catalogue.ts'
import { loadConfig } from '#common/config/load.ts'
import { kafka, log, shutdown } from '#common/config/shared-sections.ts'
import { schema as logSink } from '../log-sink/config.ts'
import { containedJvm, kafkaImage, settingVariable, singleBroker } from '../stack/engines/kafka.ts'
import { type KafkaPasswords, kafkaUsers, listenerSettings } from '../stack/engines/kafka-users.ts'
import { postgresImage } from '../stack/engines/postgres.ts'
import { redisImage } from '../stack/engines/redis.ts'
import { redisAdmin, redisPermissions } from '../stack/engines/redis-users.ts'
import { mallocOptions } from '../stack/service-environment.ts'
import { services as stackServices } from '../stack/services.ts'
import {
  type ComposeService,
  compose,
  interpolate,
  jobs,
  ourImage,
  ours,
  read,
  root,
  services
} from './support/compose-file.ts'

t.test('dclint has no warnings', async (t) => {
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
  t.same(engines, [kafkaImage, postgresImage, redisImage], 'the engines are those of `make run`')
})

t.test('one service builds the image, and `up` does not rebuild it', async (t) => {
  t.equal(ours.length, 6)
  for (const [name, { build, pull_policy }] of services) {
    t.equal(build, name === 'migrate' ? '.' : undefined, `whether ${name} builds`)
    if (ourImage === compose.services[name]?.image)
      t.equal(pull_policy, name === 'migrate' ? 'missing' : 'never', `${name} uses no registry`)
  }
})

t.test('Kafka has the settings of `make run`', async (t) => {
  const { environment = {} } = compose.services.kafka as ComposeService
  for (const [key, value] of Object.entries(singleBroker))
    t.equal(String(environment[settingVariable(key)]), value, key)
  for (const [name, value] of Object.entries(containedJvm)) t.equal(environment[name], value, name)
})

t.test('the users of Kafka and Redis are those of `make run`', async (t) => {
  const { kafka, redis } = compose.services
  const variable = (user: string) => (user === 'admin' ? '' : `${user.replaceAll('-', '_').toUpperCase()}_`)
  const written = (engine: string, user: string) => `\${${engine}_${variable(user)}PASSWORD:?}`
  const passwords = Object.fromEntries(kafkaUsers.map((user) => [user, written('KAFKA', user)])) as KafkaPasswords
  for (const [key, value] of Object.entries(listenerSettings(['CLIENTS'], passwords)))
    t.equal(kafka?.environment?.[settingVariable(key)], value, key)
  const permissions = { [redisAdmin]: '~* &* +@all', ...redisPermissions }
  const users = Object.entries(permissions).map(
    ([user, rules]) => `user ${user} on >${written('REDIS', user)} ${rules}`
  )
  t.equal(redis?.environment?.REDIS_USERS, ['user default off ~* &* +@all', ...users].join('\n'))
})

t.test('every service has the heap options of make run and waits for its dependencies', async (t) => {
  for (const [name, { command = [], depends_on = {} }] of ours) {
    const [node, ...options] = command.slice(0, -1)
    const entry = command.at(-1) ?? ''
    t.equal(node, 'node', name)
    t.ok(existsSync(join(root, entry)), `${entry} exists`)
    const heap = stackServices.find((each) => each.name === name)?.heapOptions ?? []
    t.same(options, heap, `the heap of ${name} is that of make run`)
    for (const [needed, { condition }] of Object.entries(depends_on)) {
      const expected =
        needed === 'kafka' ? 'service_started' : jobs.has(needed) ? 'service_completed_successfully' : 'service_healthy'
      t.equal(condition, expected, `${name} waits until ${needed} is ready`)
    }
  }
  t.ok('migrate' in (compose.services['user-svc']?.depends_on ?? {}))
  for (const name of jobs) t.equal(compose.services[name]?.restart, undefined, `${name} runs once`)
})

t.test('without Kafka every service starts, except log-sink', async (t) => {
  function waitsFor(name: string): string[] {
    const needed = Object.keys(compose.services[name]?.depends_on ?? {})
    return [...needed, ...needed.flatMap(waitsFor)]
  }
  for (const [name] of ours) {
    const needsKafka = ['kafka-access', 'log-sink'].includes(name)
    t.equal(waitsFor(name).includes('kafka'), needsKafka, `whether ${name} waits for Kafka`)
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

t.test('the Dockerfile has the malloc options of make run', async (t) => {
  const dockerfile = read('Dockerfile')
  for (const [name, value] of Object.entries(mallocOptions)) t.ok(dockerfile.includes(`\nENV ${name}=${value}\n`), name)
})

t.test('each service has a volume of its own for its log', async (t) => {
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
    if (jobs.has(name)) {
      t.same(targets, [], `${name} writes to no disk`)
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
      `the volumes of ${name} are its log folders`
    )
    t.same(config.kafka.brokers, ['kafka:9092'], `${name} ships its lines`)
    t.ok(networks.includes('kafka'), `${name} reaches Kafka`)
  }
})

t.test('long-running services have a health check and restart', async (t) => {
  const defaults = loadConfig({ shutdown }, { CONFIG_FILE: '/dev/null' }).shutdown
  const grace = (defaults.timeout + defaults.drainDelay) / 1000
  for (const [name, service] of services.filter(([name]) => !jobs.has(name))) {
    t.equal(service.healthcheck?.interval, '2s', `${name} has a health check`)
    t.ok(service.healthcheck?.test, `${name} has a health check`)
    t.equal(service.restart, 'unless-stopped', `${name} restarts`)
    t.equal(service.healthcheck?.start_period, '180s', `${name} has time to start on a busy machine`)
    if (service.image === ourImage)
      t.ok(Number.parseInt(service.stop_grace_period ?? '0', 10) > grace, `${name} has time to stop`)
  }
})
