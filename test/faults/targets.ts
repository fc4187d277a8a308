/** The targets of faults, and the faults. */

export const targets = ['postgres', 'redis', 'kafka', 'user-svc', 'session-svc', 'mail'] as const
export type Target = (typeof targets)[number]

/** The faults of a target; `backends killed` is for PostgreSQL alone. */
export type Fault =
  | 'absent at start'
  | 'killed'
  | 'frozen'
  | 'slow'
  | 'resetting'
  | 'back and empty'
  | 'unresponsive'
  | 'backends killed'

/** A target that the testbed starts itself, the mail server included. */
export const isEngine = (target: Target) => target !== 'user-svc' && target !== 'session-svc'
