/**
 * Checks whether the product is linearizable: many clients register, log in, validate, log out, change and reset passwords,
 * revoke sessions and delete accounts over two gateways during faults; then each address is checked against a sequential model.
 */

import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { createRandom } from '../faults/fault-plan.ts'
import { createTestbed } from '../faults/testbed.ts'
import { type BrokenProduct, brokenProducts } from './broken-product.ts'
import { type Checked, checkHistories } from './checker.ts'
import { createClient, type Send } from './client.ts'
import { watchEmails } from './emailed-tokens.ts'
import { startFaults } from './fault-sequence.ts'
import { createHistoryFile } from './history.ts'
import { createOperator } from './operators.ts'
import { startSecondGateway } from './second-gateway.ts'
import { visit } from './visits.ts'

interface BedOptions {
  print: (line: string) => void
  /** Running brokers; without this option the bed starts one and injects its faults too. */
  brokers?: string | undefined
}

export interface LinearizabilityOptions {
  operations: number
  seed: number
  /** Starts no further address after this time. */
  maxSeconds?: number
  broken?: BrokenProduct | undefined
  /** Multiplies the pauses between faults. 0: no faults. */
  pauseFactor?: number
  concurrentAddresses?: number
  operationsPerAddress?: number
  /** The share of validations that are added to the mix. */
  extraValidations?: number
}

/** For many operations: more addresses at the same time than clients that wait for a fault. */
export const longLoad = { pauseFactor: 4, concurrentAddresses: 40, operationsPerAddress: 80, extraValidations: 0.4 }

export interface LinearizabilityResult {
  operations: number
  addresses: number
  faults: number
  /** Requests by name and status. */
  counts: Map<string, number>
  /** The addresses whose history is not linearizable, or was not decided in time. */
  violations: Checked[]
  historyPath: string
}

export type LinearizabilityBed = Awaited<ReturnType<typeof startBed>>

/** Starts the product with two gateways, on engines of its own. */
export async function startBed(t: Pick<Test, 'teardown'>, { print, brokers }: BedOptions) {
  const directory = mkdtempSync(join(tmpdir(), 'linearizability-'))
  const mailDirectory = join(directory, 'mail')
  mkdirSync(mailDirectory)
  const testbed = await createTestbed(t, { brokers, env: settings(mailDirectory) })
  const { product } = testbed
  const gateway = await startSecondGateway(t, product)
  const emails = watchEmails(mailDirectory)
  t.teardown(emails.stop)
  const endAllSessions = createOperator(String(product.env.RPC_USER_SVC_URL), product.adminToken)
  const ownBroker = brokers === undefined
  return {
    print,
    directory,
    testbed,
    ports: [product.ports.rest, gateway.port],
    gateway,
    emails,
    endAllSessions,
    ownBroker
  }
}

/** Sends the load and checks the histories. */
export async function checkLinearizability(
  bed: LinearizabilityBed,
  options: LinearizabilityOptions
): Promise<LinearizabilityResult> {
  const { seed, pauseFactor = 1, concurrentAddresses = 12, operationsPerAddress = 60, extraValidations = 0 } = options
  const history = createHistoryFile(join(bed.directory, `history-${seed}${options.broken ?? ''}.jsonl`))
  const counts = new Map<string, number>()
  const loaded = { operations: 0, addresses: 0 }
  const random = createRandom(seed)
  const client = createClient(bed.ports, random)
  const send = options.broken ? brokenProducts[options.broken](client.send) : client.send
  const endsAt = performance.now() + 1000 * (options.maxSeconds ?? Number.POSITIVE_INFINITY)

  async function visitAddresses(): Promise<void> {
    while (loaded.operations < options.operations && performance.now() < endsAt) {
      loaded.addresses += 1
      const known = await visitOne(bed, { send, counts, random, extraValidations, operations: operationsPerAddress })
      loaded.operations += known.operations.length
      history.write(known.email, known.operations)
      if (loaded.addresses % 500 === 0) bed.print(`${loaded.operations} operations of ${loaded.addresses} addresses`)
    }
  }

  const endFaults = pauseFactor > 0 ? startFaults({ ...bed, seed, pauseFactor }) : async () => 0
  await Promise.all(Array.from({ length: concurrentAddresses }, visitAddresses))
  const faults = await endFaults()
  client.close()
  await history.close()
  const violations: Checked[] = []
  await checkHistories(history.path, (checked) => void (checked.result !== 'Ok' && violations.push(checked)))
  return { ...loaded, faults, counts, violations, historyPath: history.path }
}

interface Load {
  send: Send
  counts: Map<string, number>
  random: () => number
  extraValidations: number
  operations: number
}

function visitOne({ testbed, emails, endAllSessions }: LinearizabilityBed, { counts, ...load }: Load) {
  const count = (request: string, status: number) => {
    const key = `${request} ${status}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  // A killed or frozen PostgreSQL delays this statement; the request then finds the limit.
  const permitEmail = () => Promise.race([testbed.database`delete from email_limits`.then(ignore, ignore), sleep(200)])
  const email = `user-${randomBytes(8).toString('hex')}@example.org`
  return visit({ ...load, endAllSessions, count, email, emails, permitEmail })
}

const ignore = () => {}

const settings = (mailDirectory: string): Record<string, string> => ({
  LOG_LEVEL: 'warn',
  LOG_STDOUT: 'error',
  MAIL_URL: `file:${mailDirectory}`,
  // client.ts sends each request from another network, so that the wrong passwords of a visit stay below all bounds on guesses.
  GATEWAY_TRUSTED_PROXIES: '127.0.0.1/32'
})
