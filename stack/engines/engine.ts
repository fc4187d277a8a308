/** The options that are common to all engines. */

import type { Print, Supervisor } from '../supervisor.ts'

/** A Docker daemon that responds. */
export interface Docker {
  /** Differs between data directories. */
  containerPrefix: string
}

/** How an engine is started. */
export interface EngineOptions {
  supervisor: Supervisor
  /** The folder of its data; created if missing. */
  directory: string
  /** The engine listens on this port of 127.0.0.1. */
  port: number
  /** Runs the engine in a container; without it, the engine is a process. */
  docker: Docker | undefined
  /** Reports long steps. */
  print: Print
  /** Aborts the start. */
  signal: AbortSignal
  /** Whether the process yields the CPU to the services. */
  isBackground?: boolean
}

/** How long an engine may take to stop before it is killed. */
export const engineGraceMs = 15_000

/** How long an engine may take to answer after its start, including recovery from a crash. */
export const engineStartMs = 60_000

/** An engine cannot run on this machine; the message is the reason. */
export class UnavailableError extends Error {
  override name = 'UnavailableError'
}
