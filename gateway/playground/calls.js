/** Calls the product, and shows each call as curl and its response, without any secret. */

import { element } from './view.js'

const maxShownCalls = 30
/** The shell variable that stands for the value of a field. */
const variables = {
  password: 'PASSWORD',
  currentPassword: 'CURRENT_PASSWORD',
  newPassword: 'NEW_PASSWORD',
  token: 'EMAIL_TOKEN'
}

/** The fields whose requests carry the device token. */
const passwordFields = ['password', 'currentPassword', 'newPassword']
const deviceHeader = 'X-Device-Token'

let bearerToken

/** The bearer token of this page, in its memory only; undefined: the browser sends its cookie. */
export function currentToken() {
  return bearerToken
}

export function setToken(token) {
  bearerToken = token
}

/** The token of this device, of a login without the cookie. It is no credential, so it outlasts the page. */
const deviceTokenFor = (body) =>
  passwordFields.some((name) => name in body) ? (localStorage.getItem(deviceHeader) ?? undefined) : undefined

/**
 * Calls a route with the token, or with the cookie if there is none.
 *
 * @param options.body the fields of the JSON body
 * @param options.without the request carries neither token nor cookie
 * @param options.byCookie the request carries the cookie, also beside a token
 * @param options.hides statuses whose call is not shown
 * @returns the status, and the JSON body if there is one; status 0 if no response came
 */
export async function call(method, path, { body, without = false, byCookie = false, hides = [] } = {}) {
  const bearer = without || byCookie ? undefined : bearerToken
  const usesCookie = !without && bearer === undefined
  const device = usesCookie ? undefined : deviceTokenFor(body ?? {})
  const startedAt = performance.now()
  const answer = await send(method, path, { body, bearer, device, usesCookie })
  if (!hides.includes(answer.status)) {
    const curl = curlOf(method, path, { body, bearer, device, usesCookie })
    show({ method, path, curl, tookMs: Math.round(performance.now() - startedAt), ...answer })
  }
  return answer
}

async function send(method, path, { body, bearer, device, usesCookie }) {
  const headers = {
    ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
    ...(device !== undefined && { [deviceHeader]: device }),
    ...(body !== undefined && { 'content-type': 'application/json' })
  }
  try {
    const response = await fetch(path, {
      method,
      headers,
      credentials: usesCookie ? 'same-origin' : 'omit',
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
    const issued = response.headers.get(deviceHeader)
    if (issued !== null) localStorage.setItem(deviceHeader, issued)
    const text = await response.text()
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
  } catch {
    return { status: 0, body: { title: 'No response', detail: 'The gateway did not answer.' } }
  }
}

function curlOf(method, path, { body, bearer, device, usesCookie }) {
  const parts = [`curl -i${method === 'GET' ? '' : ` -X ${method}`} ${quoted(location.origin + path)}`]
  if (bearer !== undefined) parts.push('-H "Authorization: Bearer $TOKEN"')
  if (device !== undefined) parts.push(`-H "${deviceHeader}: $DEVICE_TOKEN"`)
  if (usesCookie) parts.push('-b cookies.txt -c cookies.txt')
  if (body !== undefined) parts.push("-H 'Content-Type: application/json'", `-d ${jsonArgument(body)}`)
  return parts.join(' \\\n  ')
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`

function jsonArgument(body) {
  const fields = Object.entries(body).map(([name, value]) => {
    const variable = variables[name]
    return `"${name}":${variable ? `"'"$${variable}"'"` : quoted(JSON.stringify(value)).slice(1, -1)}`
  })
  return `'{${fields.join(',')}}'`
}

/** The body of a response, without the token of a session. */
function responseOf(body) {
  const text = JSON.stringify(body, (name, value) => (name === 'token' ? '$TOKEN' : value), 2)
  return element('details', {}, element('summary', {}, 'Response'), element('pre', {}, element('code', {}, text)))
}

function show({ method, path, curl, status, body, tookMs }) {
  const name = `${method} ${path}`
  const copy = element('button', { type: 'button', 'aria-label': `Copy the call ${name}` }, 'Copy')
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(curl)
    copy.textContent = 'Copied'
  })
  const item = element(
    'li',
    {},
    element('h3', {}, `${name}: ${status || 'no response'}`),
    element('p', { class: 'quiet' }, `${new Date().toLocaleTimeString()}, ${tookMs} ms`),
    element('pre', {}, element('code', {}, curl)),
    ...(body === undefined ? [] : [responseOf(body)]),
    element('div', { class: 'buttons' }, copy)
  )
  const calls = document.getElementById('calls')
  calls.prepend(item)
  while (calls.children.length > maxShownCalls) calls.lastElementChild.remove()
}
