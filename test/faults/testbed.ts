/** The testbed: the product with engines of its own, and a proxy before each engine and service that injects faults. */

import type { Test } from 'tap'
import type { ServiceName } from '../support/product.ts'
import { faultInjection } from './fault-injection.ts'
import { startParts, type TestbedOptions } from './testbed-parts.ts'

export type Testbed = Awaited<ReturnType<typeof createTestbed>>

const services: ServiceName[] = ['session-svc', 'user-svc', 'gateway']

export async function createTestbed(t: Pick<Test, 'teardown'>, options: TestbedOptions = {}) {
  const parts = await startParts(t, options)
  const { product, database, engines, secrets } = parts
  /** The instances (a field of their log lines) of killed processes. */
  const killed = new Set<string>()
  return {
    product,
    database,
    secrets,
    /** The mail server, which keeps every email that it has accepted. */
    mail: engines.mail,
    killed,
    ...faultInjection(parts, killed),

    /** The services that have exited, each with the end of its output. */
    exits: () =>
      services
        .filter((name) => (product.process(name)?.exitCode ?? null) !== null)
        .map((name) => `${name} has exited:\n${product.output(name).slice(-4000)}`)
  }
}
