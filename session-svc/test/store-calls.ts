/** A session-svc on a Redis server of its own: the outcomes of its calls, and the results of its probes. */

import { Code, ConnectError } from '@connectrpc/connect'
import type { Test } from 'tap'
import { reasonOf } from '#common/ops/probe.ts'
import { silentLog } from '#common/testing/service.ts'
import { redisDependencies } from '../redis-probes.ts'
import { newUser, startSessionSvc } from './service.ts'

export const single = {
  sentinelName: '',
  sentinelPassword: '',
  minReplicas: 0,
  nodes: [] as string[],
  topology: 'single' as const
}

/** Starts a session-svc on one Redis server. */
export async function startOn(t: Test, address: string, rules = {}, log = silentLog) {
  const service = await startSessionSvc(t, rules, log, { ...single, url: `redis://${address}` })
  return { ...service, ...actions(service), states: statesOf(service, 'single') }
}

export type Service = Awaited<ReturnType<typeof startSessionSvc>>

/** Runs the probes. @returns `up` or the reason, by dependency */
export function statesOf({ store }: Pick<Service, 'store'>, topology: string) {
  return async () => {
    const dependencies = redisDependencies(store, topology, async () => {})
    const states = dependencies.map(
      async ({ name, probe }) => [name, await probe().then(() => 'up', reasonOf)] as const
    )
    return Object.fromEntries(await Promise.all(states)) as Record<string, string>
  }
}

/** `done`, or the code of the error. */
export const outcome = (call: Promise<unknown>) =>
  call.then(
    () => 'done',
    (error) => Code[ConnectError.from(error).code] ?? ''
  )

/** The calls of the service, each resolving to its outcome. */
export function actions({ client }: Pick<Service, 'client'>) {
  const options = { timeoutMs: 2000 }
  return {
    create: async (userId = newUser()) => (await client.createSession({ userId })).token,
    validate: (token: string) =>
      client.validateSession({ token }, { timeoutMs: 1000 }).then(
        ({ result }) => String(result.case),
        (error) => Code[ConnectError.from(error).code] ?? ''
      ),
    tryCreate: () => outcome(client.createSession({ userId: newUser() }, options)),
    tryEnd: (token: string) => outcome(client.deleteSession({ target: { case: 'token', value: token } }, options)),
    tryRevoke: (userId: string) => outcome(client.deleteUserSessions({ userId, epoch: 1n }, options))
  }
}
