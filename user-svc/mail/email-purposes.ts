/** The purposes of emails. This file loads no driver, because the configuration of `make run` reads it. */

/** Each selects a template; `change-notice` has no token. */
export const emailPurposes = ['verify', 'change', 'reset', 'change-notice'] as const

export type EmailPurpose = (typeof emailPurposes)[number]
