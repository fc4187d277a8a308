/** The configuration reference in README.md says what the schema says. */

import { spawnSync } from 'node:child_process'
import t from 'tap'

const { status, stderr } = spawnSync(process.execPath, ['stack/reference.ts', '--check'], { encoding: 'utf8' })
t.equal(status, 0, stderr)
