/** A configuration file that the user of the process may not read: in a container, that of a checkout under umask 077. */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { log } from '#common/config/shared-sections.ts'
import { fieldCase } from '#common/testing/field-cases.ts'

fieldCase(t, 29, 'a configuration file without read permission stops the start and names the remedy', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'config-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'config.yml')
  writeFileSync(file, '', { mode: 0o600 })
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  else chmodSync(file, 0)
  try {
    t.throws(() => loadConfig({ log }, { CONFIG_FILE: file }), {
      name: 'ConfigError',
      message: /config\.yml: cannot be read \(EACCES\): the user of this process \(uid \d+\) .*chmod a\+r$/
    })
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
})
