/**
 * Loaded before each test file (.taprc). tap puts module hooks into every child process, for a coverage that is not measured here; the
 * processes that a test starts run without them, as they run for a user. A gateway then starts with 1.0 instead of 1.7 s of CPU.
 */

import { createRequire } from 'node:module'

const { removeAllListeners } = createRequire(import.meta.url)('process-on-spawn') as { removeAllListeners(): void }
removeAllListeners()
// Types are stripped in place, so only packages have source maps: each would be parsed when its module is loaded.
process.setSourceMapsEnabled(false)
