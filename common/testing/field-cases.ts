/**
 * Tests of inputs from the field: public reports by operators of similar systems, each reduced to its smallest input.
 * The tests that pass are the rows of `docs/reference/field-cases.md`. To add a case, add a row to `fieldCases` and a
 * test that calls `fieldCase` with its number.
 */

import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

/** One input from the field. */
interface FieldCase {
  /** The smallest input that shows the fault. */
  input: string
  /** How far the fault reaches: the class of inputs that its correction covers. */
  kind: string
}

/** A case that a passing test has answered. */
export interface FieldCaseAnswer {
  number: number
  answer: string
}

/** The cases by number; a number never changes its meaning. */
export const fieldCases: Record<number, FieldCase> = {
  1: {
    input: '140 logins a second whose clients disconnect after 12 ms, beside an honest login every 500 ms',
    kind: 'a peer that cancels calls, and a connection that ends with an HTTP/2 error code'
  },
  2: {
    input: '`GATEWAY_HOST=localhost`, where localhost is `::1` and `127.0.0.1`, and SIGTERM during five registrations',
    kind: 'code that has to reach every listener of a server: drain, strict HTTP, client errors, connection limits'
  },
  3: {
    input: "log-sink's clock a day ahead, then corrected, then `kill -9`",
    kind: 'file names as an order, steps of a clock, leftovers of compression'
  },
  4: {
    input: "`DELETE /logout` with `-d ''`, with `Content-Type: text/plain`, with `fetch(url, {body: ''})`",
    kind: 'an empty body has no type, on every route that takes no body'
  },
  5: { input: 'PgBouncer in transaction mode', kind: 'transaction poolers: no session state, no startup parameters' },
  6: { input: "Redis's disk is full", kind: 'an engine that still answers a part of the commands' },
  7: { input: '`CLIENT PAUSE 9000 WRITE`, as in a planned failover', kind: 'a validation waits for no write' },
  8: {
    input: 'a session created under `session.idleTimeout` 60 s, used after a restart with 1 h',
    kind: 'rules that are raised or lowered, also in a rolling deployment with two values'
  },
  9: {
    input: '`connect-timeout-ms: 2592000000`, `grpcurl -max-time 2592000`',
    kind: 'every deadline that a peer sends, on every kind of call'
  },
  10: {
    input: 'a role with `lock_timeout`, with `idle_session_timeout`, with a rotated password',
    kind: 'SQLSTATE classes, and connections that can no longer be opened'
  },
  11: { input: 'a gateway whose clock is 16 minutes ahead or an hour behind', kind: 'two clocks for one rule' },
  12: {
    input: 'a wrong Redis password, a Redis user without INFO and CONFIG',
    kind: "the engine's own message in readiness and logs"
  },
  13: {
    input: '`?schema=public`, `?channel_binding=prefer` in the PostgreSQL URL',
    kind: 'URLs as Neon, Supabase, Prisma, RDS and Heroku print them'
  },
  14: {
    input: '`REDIS_URL=redis://:100%@…`, a PostgreSQL password with `@` and `/`',
    kind: 'special characters in every URL key'
  },
  15: {
    input: '`PGSSLMODE=require make run`',
    kind: 'variables of drivers and of the runtime that change connections'
  },
  16: { input: 'a data folder or a clone named `a,b`', kind: 'every legal folder name' },
  17: { input: 'the topic `logs` with `max.message.bytes=2000`', kind: 'limits of brokers' },
  18: { input: 'a gateway whose clock is two hours ahead', kind: "the broker's clock counts" },
  19: { input: '`POST /session/api/hello` from Envoy', kind: 'forward authentication of every named proxy' },
  20: {
    input: '`X-Session-Id: forged` and 20 kB of cookies through nginx',
    kind: 'identity headers in every spelling, and credentials that reach the application'
  },
  21: { input: '`grpcurl describe session.v1.Session.user_id`', kind: 'every kind of symbol' },
  22: {
    input: '`DeleteUserSessions` with the highest epoch',
    kind: 'bounds of epochs, internal fields in client errors, outbox rows that cannot succeed'
  },
  23: {
    input: "`DeleteUserSessions` with an epoch that is not above the account's",
    kind: 'calls that succeed without effect'
  },
  24: { input: 'the first correct login after a revocation by RPC', kind: 'a retry that the product owes' },
  25: { input: '`rpc.token` rotated at the caller first', kind: 'a credential that the upstream rejects' },
  26: {
    input: '`GATEWAY_RATE_LIMIT_CREDENTIAL_MAX=5`, misspelt',
    kind: "variables with one of the product's prefixes"
  },
  27: {
    input: '`X-Forwarded-For` with the inner hop as `10.0.0.5:4711`',
    kind: 'addresses with ports, on every hop of the header'
  },
  28: {
    input: 'a load balancer that reuses a connection for 600 s',
    kind: 'the keep-alive time of connections is configurable'
  },
  29: { input: 'a clone under umask 077, then Compose', kind: 'permissions of the files that containers read' },
  30: {
    input: '2,001 sources in one log partition, then a new line of the first source',
    kind: 'limits of bookkeeping count no line as lost'
  }
}

/**
 * Runs a test of a case and records its answer for the page when it passes.
 *
 * @param answer what the product does with the input, as a sentence in lower case: the title of the test and the page's row
 */
export async function fieldCase(
  t: Pick<Test, 'test'>,
  number: number,
  answer: string,
  body: (t: Test) => Promise<unknown>
): Promise<void> {
  if (fieldCases[number] === undefined) throw new Error(`field case ${number} has no row in the table of cases`)
  await t.test(`field case ${number}: ${answer}`, async (test) => {
    await body(test)
    const folder = process.env.FIELD_CASES_DIR
    if (folder && test.passing()) {
      appendFileSync(join(folder, `${process.pid}.ndjson`), `${JSON.stringify({ number, answer })}\n`)
    }
  })
}
