/** Lets a closing gateway come to its end: connections that finish their request while it closes are closed too. */

import type { FastifyInstance } from 'fastify'

const intervalMs = 50

/** Fastify closes the connections that are idle when closing begins; those that become idle later would hold it up. */
export function drainConnections(app: FastifyInstance): void {
  let timer: NodeJS.Timeout | undefined
  app.addHook('preClose', (done) => {
    timer = setInterval(() => app.server.closeIdleConnections(), intervalMs)
    done()
  })
  app.addHook('onClose', async () => clearInterval(timer))
  app.addHook('onSend', async (_request, reply) => {
    if (timer !== undefined) reply.header('connection', 'close')
  })
}
