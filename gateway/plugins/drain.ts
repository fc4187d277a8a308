/** Lets a closing gateway come to its end: it waits for requests that it has, and for nothing else. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

// How long a request whose end has not arrived by then is still waited for.
const arrivalMs = 1000

declare module 'fastify' {
  interface FastifyInstance {
    /** How many requests have been accepted and not answered yet. */
    requestsUnderWay(): number
  }
}

/**
 * Fastify closes the connections that are idle when closing begins. This closes those too that become idle
 * later, that never sent anything, and that do not come to the end of their request.
 */
export function drainConnections(app: FastifyInstance): void {
  /** The answers that each connection still waits for. (A set that they come into and leave would keep many of them in memory for long.) */
  const open = new Map<Socket, ServerResponse[]>()
  let closing = false
  app.decorate('requestsUnderWay', () => [...open.values()].reduce((sum, { length }) => sum + length, 0))

  app.server.on('connection', (socket: Socket) => {
    open.set(socket, [])
    socket.once('close', () => open.delete(socket))
  })
  app.server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const answers = open.get(socket)
    answers?.push(response)
    if (closing) sayLast(response)
    response.once('close', () => {
      answers?.splice(answers.indexOf(response), 1)
      if (closing && answers?.length === 0) socket.destroySoon()
    })
  })
  function cut(isDone: (answers: ServerResponse[]) => boolean): void {
    for (const [socket, answers] of open) if (isDone(answers)) socket.destroy()
  }

  app.addHook('preClose', (done) => {
    closing = true
    for (const answers of open.values()) for (const response of answers) sayLast(response)
    cut((answers) => answers.length === 0)
    setTimeout(() => cut((answers) => answers.every(({ req }) => !req.complete)), arrivalMs).unref()
    done()
  })
}

/** Tells the client that the connection ends with this answer. */
function sayLast(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
