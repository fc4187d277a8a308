/** Engines in a folder whose name has every character that is special in settings, options or shells. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { startEngines } from '../engines.ts'
import { findPorts } from '../port-check.ts'
import { createSupervisor } from '../supervisor.ts'

fieldCase(t, 16, 'the engines start in a folder of any name, and write nothing outside of it', async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'folders-'))
  t.teardown(() => rmSync(parent, { recursive: true, force: true }))
  const folder = `-a,b #c=d%e%41 \\f\\u0041'g"h$HOME\`i\`;j&k|l<m>n(o)[p]{q}!r*s?t:u~ü€^+@ `
  const dataDir = join(parent, folder, 'data')
  mkdirSync(dataDir, { recursive: true })
  const checkout = readdirSync('.')
  const lines: string[] = []
  const supervisor = createSupervisor(join(dataDir, 'run'), (line) => lines.push(line))
  t.teardown(() => supervisor.stop(['kafka', 'redis', 'postgres']))
  const ports = await findPorts(['postgres', 'redis', 'kafka'].map((key) => ({ key, host: '127.0.0.1', port: 0 })))
  const port = (key: string) => ports.get(key) as number
  const engines = await startEngines({
    configured: { postgresUrl: '', redis: { topology: 'single', url: '' }, kafka: { brokers: [] } },
    ports: { postgres: port('postgres'), redis: port('redis'), kafka: port('kafka') },
    dataDir,
    supervisor,
    print: (line) => lines.push(line),
    signal: new AbortController().signal,
    postgresSettings: { fsync: 'off' }
  })
  t.equal(engines.kafkaBrokers.length, 1, lines.join('\n'))
  await engines.kafkaReady
  if (existsSync(join(dataDir, 'kafka')))
    for (const path of ['kafka/logs/meta.properties', 'redis/appendonlydir', 'postgres/PG_VERSION'])
      t.ok(existsSync(join(dataDir, path)), path)
  t.same(readdirSync(parent), [folder], 'no file beside the folder')
  t.same(readdirSync('.'), checkout, 'no file in the checkout')
})
