/** The purposes of emails. This file loads no driver, because the configuration of `make run` reads it. */

/** Each selects a template. */
export const emailPurposes = ['verify', 'change', 'reset', 'change-notice', 'registration-notice'] as const

/** The purposes without a token. */
export const noticePurposes: readonly string[] = ['change-notice', 'registration-notice'] satisfies EmailPurpose[]

export type EmailPurpose = (typeof emailPurposes)[number]
