/** The sources of a service in the disk buffer: that of this process, and adopted ones of processes that have ended. */

import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { acquireLease, type Lease, leaseFile } from '#common/process/directory-lease.ts'
import { namesIn, sourceStaleMs } from './layout.ts'
import { removeOldest } from './retention.ts'
import type { ShipperEvents, ShipperOptions } from './shipper-options.ts'
import { openSource, type Source } from './source.ts'

/** The open sources. */
export interface Sources {
  /** Adopted sources first. */
  all(): Source[]
  heldBytes(): number
  /** Once a second: keeps the buffer within its limit, renews leases and adopts sources. */
  maintain(): void
  /** Removes an adopted source that has no more lines. */
  removeIfAdopted(source: Source): void
  /** @param isComplete whether the source of this process has no more lines: its main thread removes the directory then */
  close(isComplete: boolean): void
}

const maintenanceMs = 1000
const adoptMs = 5000
// A directory without an owner is either new, or its process could not write the owner to a full disk.
const ownerlessMs = 60_000

/** Acquires the lease of a directory without a live owner. @returns undefined also if its owner removes it meanwhile */
function leaseOfOrphan(path: string): Lease | undefined {
  try {
    if (!statSync(path).isDirectory()) return undefined
    const hasOwner = namesIn(path).includes('owner.json')
    const isNew = !hasOwner && Math.abs(Date.now() - statSync(path).mtimeMs) < ownerlessMs
    return isNew ? undefined : acquireLease(leaseFile(path), sourceStaleMs)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

export function openSources(options: ShipperOptions, events: ShipperEvents, now: () => number): Sources {
  const { service, instance, directory, maxBytes, send, retains = false } = options
  const ownDirectory = join(directory, instance)
  const adopted = new Map<Source, Lease>()
  let own: Source | undefined
  let maintainedAt = Number.NEGATIVE_INFINITY
  let adoptedAt = Number.NEGATIVE_INFINITY

  const all = () => [...adopted.keys(), ...(own ? [own] : [])]
  const heldBytes = () => all().reduce((sum, source) => sum + source.bytes(), 0)

  function adoptOrphans(): void {
    const open = new Set(all().map((source) => source.directory))
    for (const name of namesIn(directory)) {
      const path = join(directory, name)
      const lease = open.has(path) ? undefined : leaseOfOrphan(path)
      if (lease) adopted.set(openSource(`${service}/${name}`, path, events.dropped), lease)
    }
  }

  return {
    all,
    heldBytes,
    maintain() {
      if (now() - maintainedAt < maintenanceMs) return
      maintainedAt = now()
      mkdirSync(ownDirectory, { recursive: true, mode: 0o700 })
      own ??= openSource(`${service}/${instance}`, ownDirectory, events.dropped)
      if (now() - adoptedAt >= adoptMs && (send !== undefined || retains)) {
        adoptedAt = now()
        adoptOrphans()
      }
      for (const lease of adopted.values()) lease.renew()
      if (retains) removeOldest(own, adopted, maxBytes)
      else while (heldBytes() > maxBytes && all().some((source) => source.dropOldest()));
      events.bytes(heldBytes())
    },
    removeIfAdopted(source) {
      if (adopted.delete(source)) source.remove()
    },
    close(isComplete) {
      for (const [source, lease] of adopted) {
        source.close()
        lease.release()
      }
      if (isComplete) own?.skipTorn()
      own?.close()
    }
  }
}
