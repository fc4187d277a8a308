/** Reports the certificates of a process: when they expire, and replacements that cannot be used. */

import { Gauge, type Registry } from '@prometheus-io/client'
import type { Logger } from '#common/logging/logger.ts'
import {
  createPemSource,
  expiries,
  type NameOf,
  PemError,
  type PemFiles,
  type PemSource,
  refreshMs
} from './pem-source.ts'

export interface CertificateWatch {
  /**
   * Watches files until the process ends.
   *
   * @param purpose the label of the metrics
   * @throws {PemError} if the files cannot be used
   */
  add(purpose: string, files: PemFiles, nameOf?: NameOf): void
}

interface Watched {
  pem: PemSource
  /** Why the files cannot be used, and how many readings in succession found that. */
  failure: { message: string; readings: number } | undefined
}

/** One reading may fall between the replacement of a certificate and that of its key. */
const rejectedReadings = 2

export function createCertificateWatch(log: Logger, registry: Registry): CertificateWatch {
  const watched = new Map<string, Watched>()
  new Gauge({
    name: 'tls_certificate_expires_at_seconds',
    help: 'Time (Unix, in seconds) at which a certificate or a list of revoked certificates in use expires',
    labelNames: ['purpose', 'file'],
    registers: [registry],
    collect() {
      for (const [purpose, { pem }] of watched) {
        for (const { file, expiresAt } of expiries(pem.current())) {
          this.set({ purpose, file }, expiresAt.getTime() / 1000)
        }
      }
    }
  })
  new Gauge({
    name: 'tls_certificate_rejected',
    help: '1 while the PEM files of a purpose cannot be used, so that the previous ones stay in use',
    labelNames: ['purpose'],
    registers: [registry],
    collect() {
      for (const [purpose, { failure }] of watched) {
        this.set({ purpose }, (failure?.readings ?? 0) < rejectedReadings ? 0 : 1)
      }
    }
  })

  function refresh(purpose: string, each: Watched): void {
    try {
      const isChanged = each.pem.refresh()
      each.failure = undefined
      if (isChanged) log.info({ event: 'certificate_replaced', reason: purpose }, 'read a replaced certificate')
    } catch (error) {
      if (!(error instanceof PemError)) throw error
      const { message } = error
      const readings = each.failure?.message === message ? each.failure.readings + 1 : 1
      each.failure = { message, readings }
      if (readings !== rejectedReadings) return
      log.error(
        { event: 'certificate_rejected', reason: purpose, err: error },
        'rejected a replaced certificate, the previous one stays in use'
      )
    }
  }

  return {
    add(purpose, files, nameOf = (kind) => `${purpose}.tls.${kind}`) {
      if (!Object.values(files).some((file) => file !== '' && file !== undefined)) return
      const each: Watched = { pem: createPemSource(files, nameOf), failure: undefined }
      watched.set(purpose, each)
      setInterval(() => refresh(purpose, each), refreshMs).unref()
    }
  }
}
