/** Leases of live, dead and invisible processes, and contenders for a stale one. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { acquireLease, leaseFile, leaseHolder } from '#common/process/directory-lease.ts'

const staleMs = 5000
const deadPid = 2 ** 22 + 1
const module = new URL('../../process/directory-lease.ts', import.meta.url).href
const newPath = (t: Test) => leaseFile(t.testdir({}))

/** Changes the holder in the lease file. */
function changeHolder(path: string, changes: object): void {
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes }))
}

t.test('a live process keeps its lease until it releases it', async (t) => {
  const path = newPath(t)
  const lease = acquireLease(path, staleMs)
  t.equal(acquireLease(path, staleMs), undefined)
  t.equal(leaseHolder(path, staleMs)?.pid, process.pid)
  t.equal(lease?.renew(), true)
  lease?.release()
  t.equal(leaseHolder(path, staleMs), undefined)
  t.ok(acquireLease(path, staleMs))
  t.same(readdirSync(join(path, '..')), ['owner.json'], 'no other file is left')
})

t.test('the lease of a killed process is free at once', async (t) => {
  const path = newPath(t)
  const script = `import { acquireLease } from '${module}'; acquireLease(process.argv[1], ${staleMs}); process.kill(process.pid, 'SIGKILL')`
  spawnSync(process.execPath, ['--input-type=module', '--eval', script, '--', path])
  t.ok(existsSync(path))
  t.ok(acquireLease(path, staleMs))
})

t.test('a process id that another process has by now does not keep a lease', async (t) => {
  const path = newPath(t)
  acquireLease(path, staleMs)
  changeHolder(path, { startedAt: '1' })
  t.ok(acquireLease(path, staleMs))
})

t.test('a lease that a full disk left empty is free', async (t) => {
  const path = newPath(t)
  writeFileSync(path, '')
  t.ok(acquireLease(path, staleMs))
})

t.test('a lease of another host or container is free when it has not been renewed for the time', async (t) => {
  for (const elsewhere of [{ host: 'elsewhere' }, { namespace: 'pid:[1]' }]) {
    const path = newPath(t)
    acquireLease(path, staleMs)
    changeHolder(path, { ...elsewhere, pid: deadPid })
    t.equal(acquireLease(path, staleMs), undefined)
    const before = new Date(Date.now() - staleMs - 1000)
    utimesSync(path, before, before)
    t.ok(acquireLease(path, staleMs))
  }
})

t.test('renewing reports a lost lease, and releasing leaves the new one', async (t) => {
  const path = newPath(t)
  const lease = acquireLease(path, staleMs)
  writeFileSync(path, '{}')
  t.equal(lease?.renew(), false)
  lease?.release()
  t.equal(readFileSync(path, 'utf8'), '{}')
})

t.test('of several contenders, one gets a stale lease', async (t) => {
  const path = newPath(t)
  acquireLease(path, staleMs)
  changeHolder(path, { pid: deadPid })
  const script = `
    const { acquireLease } = await import('${module}')
    process.stdout.write(acquireLease(${JSON.stringify(path)}, ${staleMs}) ? 'acquired' : 'rejected')
    process.stdin.resume()`
  const contenders = Array.from({ length: 6 }, () =>
    spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  )
  const answers = await Promise.all(contenders.map(async ({ stdout }) => String((await once(stdout, 'data'))[0])))
  for (const contender of contenders) contender.stdin.end()
  t.same(answers.sort(), ['acquired', ...Array.from({ length: 5 }, () => 'rejected')])
})
