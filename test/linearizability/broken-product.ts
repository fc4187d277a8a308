/** Faulty variants of the product, each in front of the gateways: the check must detect them. */

import type { Reply, Send } from './client.ts'

const staleMs = 500

/** Answers a validation as it was answered up to 500 ms earlier. */
function staleValidations(send: Send): Send {
  const cached = new Map<string, { reply: Reply; until: number }>()
  return async (method, path, content = {}) => {
    const { token } = content
    if (`${method} ${path}` !== 'GET /session' || token === undefined) return send(method, path, content)
    const known = cached.get(token)
    if (known && performance.now() < known.until) return known.reply
    const reply = await send(method, path, content)
    cached.set(token, { reply, until: performance.now() + staleMs })
    return reply
  }
}

/** Answers every third logout without ending the session. */
function forgottenLogouts(send: Send): Send {
  let logouts = 0
  return async (method, path, content) => {
    if (`${method} ${path}` !== 'DELETE /logout' || ++logouts % 3 > 0) return send(method, path, content)
    return { status: 204, body: undefined }
  }
}

/** Answers every third change of a password 503, although it is applied. */
function appliedButUnavailable(send: Send): Send {
  let changes = 0
  return async (method, path, content) => {
    const reply = await send(method, path, content)
    const isHidden = `${method} ${path}` === 'PUT /password' && reply.status === 200 && ++changes % 3 === 0
    return isHidden ? { status: 503, body: undefined } : reply
  }
}

export const brokenProducts = { staleValidations, forgottenLogouts, appliedButUnavailable }
export type BrokenProduct = keyof typeof brokenProducts
