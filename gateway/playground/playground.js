/** The page to try the product: connects its forms and buttons with the routes. */

import { refresh } from './account.js'
import { call, currentToken, setToken } from './calls.js'
import { expectEmails, forgetLink, loadEmails, readFragment, tokenOfLink } from './emails.js'
import { byId, clearErrors, report, reportProblem } from './view.js'

/** Runs an action with the fields of a form. Further submits wait for its end. */
function onSubmit(id, act) {
  const form = byId(id)
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    await once(form, async () => {
      clearErrors(form)
      await act(Object.fromEntries(new FormData(form)), form, event.submitter?.value)
    })
  })
}

function onClick(id, act) {
  const button = byId(id)
  button.addEventListener('click', () => once(button, act))
}

async function once(node, act) {
  if (node.ariaBusy === 'true') return
  node.ariaBusy = 'true'
  await act().finally(() => {
    node.ariaBusy = null
  })
}

onSubmit('credentials', async ({ email, password, mode }, form, action) => {
  if (action === 'forgot') return requestReset(email, form)
  const usesCookie = mode === 'cookie'
  const answer = await call('POST', action === 'register' ? '/reg' : '/auth', {
    body: { email, password, ...(usesCookie && { cookie: true }) },
    without: !usesCookie,
    byCookie: usesCookie
  })
  if (answer.status >= 300 || answer.status === 0) return reportProblem(answer, form)
  form.elements.namedItem('password').value = ''
  if (answer.status === 202) {
    report('Accepted. An email to the address has the next step. If none arrives, request a new password.')
    return expectEmails()
  }
  setToken(answer.body.session.token)
  report(action === 'register' ? 'Registered and logged in.' : 'Logged in.')
  if (action === 'register') expectEmails()
  await refresh()
  byId('account-title').focus()
})

async function requestReset(email, form) {
  const answer = await call('POST', '/password/reset', { body: { email }, without: true })
  if (answer.status !== 202) return reportProblem(answer, form)
  report('If an account has this address, it gets an email.')
  expectEmails()
}

onSubmit('verify', async (_fields, form) => {
  const answer = await call('PUT', '/email/verification', { body: { token: tokenOfLink() }, without: true })
  if (answer.status !== 204) return reportProblem(answer, form)
  forgetLink()
  report('The address is verified.')
  await refresh({ hides: [401] })
  focusMain()
})

onSubmit('reset', async ({ newPassword }, form) => {
  const body = { token: tokenOfLink(), newPassword }
  const answer = await call('PUT', '/password/reset', { body, without: true })
  if (answer.status !== 204) return reportProblem(answer, form)
  form.reset()
  forgetLink()
  report('The new password is set. All sessions have ended: log in again.')
  await refresh({ hides: [401] })
  focusMain()
})

onSubmit('change-password', async ({ currentPassword, newPassword }, form) => {
  const usesCookie = currentToken() === undefined
  const body = { currentPassword, newPassword, ...(usesCookie && { cookie: true }) }
  const answer = await call('PUT', '/password', { body })
  if (answer.status !== 200) return reportProblem(answer, form)
  setToken(answer.body.session.token)
  form.reset()
  report('The password is changed. All other sessions have ended.')
  await refresh()
})

onSubmit('change-email', async ({ email, password }, form) => {
  const answer = await call('PUT', '/email', { body: { email, password } })
  if (answer.status !== 202) return reportProblem(answer, form)
  form.reset()
  report('The new address gets an email: the address changes when its link is used.')
  expectEmails()
})

/** Calls a route, reports its success, and shows the account as it is now. */
function onRoute(id, method, path, success, after) {
  onClick(id, async () => {
    const answer = await call(method, path)
    if (answer.status === 0 || answer.status >= 300) return reportProblem(answer)
    report(success)
    await after()
  })
}

onRoute('validate', 'GET', '/session', 'The session is valid.', () => refresh())
onRoute('send-again', 'POST', '/email/verification', 'The email is sent again, within its limits.', async () => {
  expectEmails()
})
onRoute('end-others', 'DELETE', '/sessions', 'All other sessions have ended.', () => refresh())
onRoute('log-out', 'DELETE', '/logout', 'Logged out.', leave)
onRoute('delete', 'DELETE', '/delete', 'The account is deleted.', leave)

/** The session of this page has ended. With a token, the browser may still have a cookie of another session. */
async function leave() {
  setToken(undefined)
  await refresh({ hides: [401] })
  focusMain()
}

function focusMain() {
  byId(byId('account').hidden ? 'credentials-title' : 'account-title').focus()
}

onClick('load-emails', loadEmails)

addEventListener('hashchange', readFragment)
addEventListener('pageshow', ({ persisted }) => {
  if (persisted) refresh({ hides: [401] })
})
readFragment()
loadEmails()
refresh({ hides: [401] })
