/** Shows the account of the current session, and its sessions with their devices and lifetimes. */

import { call, currentToken, setToken } from './calls.js'
import { byId, countDown, element, report, reportProblem } from './view.js'

/**
 * Reads the account and its sessions. An outage changes nothing on the page: it is no logout.
 *
 * @param hides statuses of the first call that are not shown
 */
export async function refresh({ hides = [] } = {}) {
  const usedToken = currentToken()
  const account = await call('GET', '/account', { hides })
  if (account.status === 401) {
    setToken(undefined)
    // Without the token, the browser may have a cookie.
    if (usedToken !== undefined) return refresh({ hides: [401] })
    byId('account').hidden = true
    return
  }
  if (account.status !== 200) return reportProblem(account)
  showAccount(account.body.user)
  await refreshSessions()
}

function showAccount({ id, email, emailVerified }) {
  byId('account').hidden = false
  byId('account-id').textContent = id
  byId('account-email').textContent = email
  byId('account-verified').textContent = emailVerified ? 'yes' : 'no'
  byId('account-credential').textContent = currentToken() === undefined ? 'cookie' : 'bearer token'
  byId('send-again').hidden = emailVerified
}

async function refreshSessions() {
  const answer = await call('GET', '/sessions')
  if (answer.status !== 200) return reportProblem(answer)
  byId('sessions').replaceChildren(...answer.body.sessions.map(sessionItem))
  byId('end-others').hidden = answer.body.sessions.length < 2
  countDown()
}

function sessionItem({ id, userAgent, createdAt, lastSeenAt, expiresAt, current }) {
  const device = userAgent || 'Unknown device'
  const created = `Created ${new Date(createdAt).toLocaleString()}, last used ${new Date(lastSeenAt).toLocaleString()}`
  const item = element(
    'li',
    {},
    element('p', {}, device, ...(current ? [element('strong', {}, ' (this session)')] : [])),
    element('p', { class: 'quiet' }, created),
    element('p', { 'data-expires-at': expiresAt })
  )
  if (!current) item.append(endButton(id, `${device}, ${created}`))
  return item
}

function endButton(id, name) {
  const button = element('button', { type: 'button', 'aria-label': `End the session of ${name}` }, 'End')
  button.addEventListener('click', async () => {
    const answer = await call('DELETE', `/sessions/${encodeURIComponent(id)}`)
    if (answer.status !== 204) return reportProblem(answer)
    report('The session has ended.')
    await refresh()
    byId('account-title').focus()
  })
  return element('div', { class: 'buttons' }, button)
}
