/** A Fastify service without logic: its default request log (two lines each) goes to a file. Argument: the file. */

import Fastify from 'fastify'

const app = Fastify({ logger: { file: process.argv[2] as string } })
const response = {
  user: { id: '01932a4e-7f3a-7c1e-9d52-3b6f0a1c2d4e' },
  session: {
    id: 'Zm9vYmFyYmF6cXV4cXV1eA',
    createdAt: '2026-11-24T12:00:00.000Z',
    lastSeenAt: '2026-11-24T12:00:00.000Z',
    expiresAt: '2026-12-24T12:00:00.000Z'
  }
}
app.get('/session', async () => response)
console.log(await app.listen({ host: '127.0.0.1', port: 0 }))
