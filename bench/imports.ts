/** Imported accounts a second: one call of `ImportUsers`, with the password hashes of another system. */

import { randomUUID } from 'node:crypto'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { type Cost, createCostMeter, formatCosts } from './cost.ts'
import { figure, median, spread } from './measurement.ts'
import type { Part } from './part.ts'

const goal = 10_000
// As many as fit into 64 KiB.
const rowsOfMessage = 200
// A digest that no password has: nothing is hashed.
const passwordHash = `$2b$12$${'abcdefghijklmnopqrstuu'}${'ABCDEFGHIJKLMNOPQRSTUVWXYZabcde'}`

export const measureImports: Part = async ({ product, stores, quick }) => {
  const { warmUpRows, rounds, rows } = quick
    ? { warmUpRows: 10_000, rounds: 1, rows: 30_000 }
    : { warmUpRows: 50_000, rounds: 3, rows: 200_000 }
  const authorization = `Bearer ${product.secret('admin-token')}`
  const transport = createGrpcTransport({
    baseUrl: `http://${product.address('user-svc', /^gRPC/)}`,
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', authorization)
        return next(request)
      }
    ]
  })
  const admin = createClient(AdminService, transport)

  async function importAccounts(count: number): Promise<{ rejected: number; perSecond: number }> {
    const messages = messagesOf(randomUUID(), count)
    const startedAt = performance.now()
    const { imported, rejected } = await admin.importUsers(messages)
    return { rejected, perSecond: imported / ((performance.now() - startedAt) / 1000) }
  }

  await importAccounts(warmUpRows)
  const meter = await createCostMeter([product], quick ? 3 : 10)
  const costs: Cost[] = []
  const rates: number[] = []
  let rejectedRows = 0
  for (let round = 0; round < rounds; round += 1) {
    const { result, cost } = await meter.measure(
      () => importAccounts(rows),
      () => rows
    )
    costs.push(cost)
    rates.push(result.perSecond)
    rejectedRows += result.rejected
  }
  await stores.removeAccounts()
  return [
    {
      name: 'imported accounts a second',
      goal: `≥ ${figure(goal)}`,
      value: spread(rates),
      passed: median(rates) >= goal && rejectedRows === 0,
      details: `one call of ${figure(rows)} rows with bcrypt hashes, ${rowsOfMessage} in a message, half of them verified; ${rejectedRows} rejected; with the delivery of the events: ${formatCosts(costs)}`,
      figures: { rates, costs, rejectedRows }
    }
  ]
}

/** Rows of accounts that do not exist yet. */
async function* messagesOf(group: string, count: number) {
  for (let from = 0; from < count; from += rowsOfMessage) {
    const users = Array.from({ length: Math.min(rowsOfMessage, count - from) }, (_, index) => {
      const number = from + index
      return {
        id: randomUUID(),
        email: `${group}-${number}@example.org`,
        emailVerified: number % 2 === 0,
        passwordHash
      }
    })
    yield { users }
  }
}
