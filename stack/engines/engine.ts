/** What starting any engine takes, and how it is said that one cannot be had. */

import type { Supervisor } from '../supervisor.ts'

/** A Docker engine that answers; containers of one data directory carry its name. */
export interface Docker {
  containerPrefix: string
}

/** How one engine is to be started. */
export interface EngineOptions {
  supervisor: Supervisor
  /** Where its data live; made if missing. */
  directory: string
  /** It listens on this port of 127.0.0.1. */
  port: number
  /** Runs it in a container; without, it runs as a process of its own. */
  docker: Docker | undefined
  /** Gets short lines about what takes long. */
  say: (line: string) => void
  /** Ends a start that is under way. */
  signal: AbortSignal
  /** Whether a process of its own yields the CPU to the services. */
  isBackground?: boolean
}

/** How long an engine may take to stop; none has anything to finish by then. */
export const engineGraceMs = 15_000

/** How long an engine may take to answer after its start, recovery from a crash included. */
export const engineStartMs = 60_000

/** An engine cannot be had here; the message says why. */
export class Unavailable extends Error {
  override name = 'Unavailable'
}
