/** The list of the gateway's routes, read from the app that serves them: tests and the fault matrix loop over this list. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createRouterTransport } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { FastifyInstance, RouteOptions } from 'fastify'
import type { Test } from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { silentLog } from '#common/testing/service.ts'
import { buildApp } from '../app.ts'
import { gateway } from '../config.ts'
import type { RateLimitRedis } from '../plugins/rate-limit-store.ts'
import { type SharedSchema, sharedSchemas } from '../schemas.ts'
import { requireForm } from './gateway.ts'

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

/** A route of the product. */
export interface Route {
  /** As the fault matrix and the documents name the route: `DELETE /sessions/{id}`. */
  name: string
  method: Method
  /** With the example of each parameter. */
  url: string
  /** As Fastify and the metrics name the path: `/sessions/:id`. */
  pattern: string
  /** The default. */
  budgetMs: number
  /** The status of the success. */
  success: number
  /** The statuses of the problems that the schema declares. */
  problems: number[]
  /** The examples of the body's schema; undefined if the route takes no body. */
  payload: Record<string, unknown> | undefined
  /** Whether the route answers 401 to a request without a token. */
  needsToken: boolean
  /** Whether the route validates the session first, and so answers 503 while that is not possible. */
  validates: boolean
}

/** Every route of the product: a route has a budget. */
export const routes: Route[] = (await registeredRoutes())
  .filter(({ method, config }) => config?.budgetMs !== undefined && method !== 'HEAD')
  .map(routeOf)

/** The requests of all routes with the examples of their schemas. */
export const requestOf = ({ method, url, payload }: Route, headers: Record<string, string> = {}) => {
  return { method, url, headers, ...(payload && { payload }) }
}

/** Calls every route. @returns the statuses by name, after each response was checked for form and leaks */
export async function statuses(t: Test, app: FastifyInstance, headers: Record<string, string>) {
  const seen: Record<string, number> = {}
  for (const route of routes) {
    const answer = await app.inject(requestOf(route, headers))
    requireForm(t, answer, answer.statusCode, route.name)
    if (answer.statusCode === 503) t.match(answer.headers['retry-after'], /^\d+$/)
    t.notMatch(answer.body, /hunter2/)
    seen[route.name] = answer.statusCode
  }
  return seen
}

/** A status for every route. */
export function statusOfEach(status: (route: Route) => number): Record<string, number> {
  return Object.fromEntries(routes.map((route) => [route.name, status(route)]))
}

async function registeredRoutes(): Promise<RouteOptions[]> {
  const registered: RouteOptions[] = []
  const onInitialization = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', (route) => void registered.push(route))
  }
  const transport = createRouterTransport(() => {})
  const redis = { isReady: false } as RateLimitRedis
  subscribe('fastify.initialization', onInitialization)
  const parts = { userSvc: transport, sessionSvc: transport, redis, registry: new Registry(), log: silentLog }
  const app = await buildApp(parts, loadConfig({ gateway }, { CONFIG_FILE: '/dev/null' }).gateway)
  unsubscribe('fastify.initialization', onInitialization)
  await app.ready()
  await app.close()
  return registered
}

function routeOf({ method, url: pattern, config, schema, onRequest }: RouteOptions): Route {
  if (schema === undefined) throw new Error(`${method} ${pattern} has no schema`)
  const declared = Object.keys(schema?.response ?? {}).map(Number)
  const [success = 0] = declared.filter((status) => status > 0)
  const problems = declared.filter((status) => status >= 400)
  const { $ref } = (schema.body ?? {}) as { $ref?: string }
  const body = sharedSchemas.find(({ $id }) => `${$id}#` === $ref)
  const { properties = {} } = (schema.params ?? {}) as Partial<SharedSchema>
  const parameters = examplesOf(properties)
  const { security = [] } = schema as { security?: Record<string, string[]>[] }
  return {
    name: `${method} ${pattern.replaceAll(/:(\w+)/g, '{$1}')}`,
    method: method as Method,
    url: pattern.replaceAll(/:(\w+)/g, (_, name: string) => String(parameters[name])),
    pattern,
    budgetMs: Number(config?.budgetMs),
    success,
    problems,
    payload: body && examplesOf(body.properties),
    needsToken: security.length > 0 && security.every((scheme) => Object.keys(scheme).length > 0),
    validates: [onRequest].flat().some((hook) => hook?.name === 'checkSession')
  }
}

function examplesOf(properties: SharedSchema['properties']): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).map(([field, { examples }]) => [field, examples?.[0]]))
}
