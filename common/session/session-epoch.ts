/**
 * The bounds of session epochs. Redis computes with doubles, so no epoch may exceed 2^53 - 1. A caller reaches the lower
 * half only; the upper half is for counting, so a revocation above every epoch that can be created always exists.
 */

/** The highest epoch that a new session gets, unless revocations have already raised its user's epoch above it. */
export const maxCreatedEpoch = 2n ** 52n - 1n

/** The highest epoch that a caller may name in a revocation. */
export const maxRevokedEpoch = maxCreatedEpoch + 1n

/** The highest epoch that is stored and accepted. */
export const maxEpoch = 2n ** 53n - 1n

/** The epoch as a revocation may name it: an earlier version stored higher ones. */
export const revokedEpoch = (epoch: bigint): bigint => (epoch < maxRevokedEpoch ? epoch : maxRevokedEpoch)
