/** Reads the configuration of user-svc from a given environment. */

import { load } from '../config.ts'

/** The configuration of an environment; the process has its own again afterwards. */
export function loadWith(environment: NodeJS.ProcessEnv) {
  const saved = process.env
  process.env = environment
  try {
    return load()
  } finally {
    process.env = saved
  }
}
