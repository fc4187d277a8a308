/** A gateway that is built and never called: for its OpenAPI document and its metrics. */

import { createRouterTransport } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import { loadConfig } from '#common/config/load.ts'
import { createLogger } from '#common/logging/logger.ts'
import { buildApp, type GatewayParts } from '../../gateway/app.ts'
import { gateway } from '../../gateway/config.ts'
import type { OpenApi } from './rest.ts'

/** The OpenAPI document, and the registry of the gateway's own metrics. */
export async function describeGateway(): Promise<{ document: OpenApi; registry: Registry }> {
  const registry = new Registry()
  const upstream = createRouterTransport(() => {})
  const options = { ...loadConfig({ gateway }, { CONFIG_FILE: '/dev/null' }).gateway, docs: true }
  // No request comes, so no rate limit is counted.
  const redis = {} as GatewayParts['redis']
  const app = await buildApp(
    { userSvc: upstream, sessionSvc: upstream, redis, registry, log: createLogger('docs', 'silent') },
    options
  )
  await app.ready()
  const document = app.swagger() as unknown as OpenApi
  await app.close()
  return { document, registry }
}
