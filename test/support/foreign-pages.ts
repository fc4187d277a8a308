/** Pages of other origins, and the requests that their scripts and forms send to a gateway. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Page } from 'playwright-core'
import type { Test } from 'tap'

/** A request that a script can send. */
export interface Attempt {
  method: string
  path: string
  body?: object
  /** The type of the body; `text/plain` needs no preflight. */
  type?: string
  mode?: 'cors' | 'no-cors'
  token?: string
}

/** A response as a script sees it; `blocked` if the browser gives it none. */
export type Seen = { status: number; body: string; requestId: string | null; type: string } | 'blocked'

// With `text/plain` the body of a form is `name=value` as it is, and so can be JSON.
const page = `<!doctype html><html lang="en"><title>Another origin</title><script>
  addEventListener('pageshow', ({ persisted }) => { globalThis.isFromCache = persisted })
  function submitForm(action, enctype, json) {
    const form = document.createElement('form')
    const field = document.createElement('input')
    Object.assign(field, { name: json.slice(0, -1) + ',"x":"', value: '"}' })
    Object.assign(form, { method: 'post', action, enctype })
    form.append(field)
    document.body.append(form)
    form.submit()
  }
</script><body>`

/** Serves the page on an origin of its own. @returns the origin */
export async function serveOrigin(t: Pick<Test, 'teardown'>, host: 'localhost' | '127.0.0.1'): Promise<string> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(page)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://${host}:${(server.address() as { port: number }).port}`
}

/** Sends a request to a gateway from a script of a page, with the credentials of the browser. */
export function send(page: Page, gateway: string, attempt: Attempt): Promise<Seen> {
  return page.evaluate(
    ({ url, method, body, type = 'application/json', mode = 'cors', token }) => {
      const headers = {
        ...(body && { 'content-type': type }),
        ...(token !== undefined && { authorization: `Bearer ${token}` })
      }
      const init = { method, mode, headers, credentials: 'include' as const }
      return fetch(url, { ...init, ...(body && { body: JSON.stringify(body) }) }).then(
        async (response) => ({
          status: response.status,
          body: await response.text(),
          requestId: response.headers.get('x-request-id'),
          type: response.type
        }),
        () => 'blocked' as const
      )
    },
    { ...attempt, url: gateway + attempt.path }
  )
}

/** Submits a form of a page to a gateway, and returns to the page. */
export async function submitForm(page: Page, action: string, type: string, body: object): Promise<void> {
  const origin = page.url()
  const answered = page.waitForResponse(action)
  await page.evaluate(`submitForm(${[action, type, JSON.stringify(body)].map((text) => JSON.stringify(text)).join()})`)
  await answered
  await page.waitForURL(action)
  await page.goto(origin)
}

/** Leaves the page and comes back by the history. The page loads again unless the browser has it in its back/forward cache. */
export async function leaveAndReturn(page: Page, elsewhere: string): Promise<void> {
  await page.goto(elsewhere)
  // A page from the cache has no event `load`.
  await page.goBack({ waitUntil: 'commit' })
}

/** Records the requests of a page to a gateway with the statuses of the responses, whether scripts see them or not. */
export function recordRequests(page: Page, gateway: string) {
  const requests: { method: string; path: string; status: number }[] = []
  page.on('response', (response) => {
    const { origin, pathname } = new URL(response.url())
    const method = response.request().method()
    if (origin === gateway) requests.push({ method, path: pathname, status: response.status() })
  })
  return requests
}
