/**
 * The bounds of session epochs. The scripts in Redis compute with doubles, so no epoch may exceed 2^53 - 1. Callers can
 * set epochs in the lower half only; the upper half is for increments, so that every session can be revoked.
 */

/** The highest epoch of a new session, unless revocations have raised its user's epoch above it. */
export const maxCreatedEpoch = 2n ** 52n - 1n

/** The highest epoch that a caller may name in a revocation. */
export const maxRevokedEpoch = maxCreatedEpoch + 1n

/** The highest epoch that is stored and accepted. */
export const maxEpoch = 2n ** 53n - 1n

/** Lowers an epoch to the highest one that a revocation may name: an earlier version stored higher ones. */
export const capRevokedEpoch = (epoch: bigint): bigint => (epoch < maxRevokedEpoch ? epoch : maxRevokedEpoch)
