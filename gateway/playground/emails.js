/** Shows the emails of the development setup, and reads the token of a followed link. */

import { byId, element } from './view.js'

const pollMs = 1000
const maxPolls = 15

const shown = new Set()
let pollsLeft = 0
let timer

/** Shows new emails, now and during the next seconds: an email is sent after the response of its request. */
export function expectEmails() {
  pollsLeft = maxPolls
  clearTimeout(timer)
  poll()
}

async function poll() {
  pollsLeft -= 1
  if ((await loadEmails()) && pollsLeft > 0) timer = setTimeout(poll, pollMs)
}

/** @returns whether the gateway shows emails */
export async function loadEmails() {
  const response = await fetch('/playground/emails', { credentials: 'omit' }).catch(() => undefined)
  if (response?.status === 404) {
    byId('emails-note').textContent =
      'This gateway shows no emails: it does so in development only, on a loopback address, where `mail.url` is a directory.'
    return false
  }
  if (!response?.ok) return true
  const { emails } = await response.json()
  const fresh = emails.filter(({ file }) => !shown.has(file)).reverse()
  for (const email of fresh) showEmail(email)
  byId('emails-note').hidden = shown.size > 0
  return true
}

function showEmail({ file, from, to, subject, text, links, writtenAt }) {
  shown.add(file)
  const id = `email-${shown.size}`
  const buttons = links.map((link) =>
    element('a', { href: hrefOf(link), 'aria-describedby': id }, 'Follow the link of this email')
  )
  const item = element(
    'li',
    {},
    element('h3', { id }, subject),
    element('p', { class: 'quiet' }, `From ${from} to ${to}, ${new Date(writtenAt).toLocaleString()}`),
    element('pre', {}, text),
    ...buttons.map((link) => element('p', {}, link))
  )
  byId('emails').prepend(item)
}

/** A link to this page stays on the origin of this page, whose session it keeps. Every other link is as in the email. */
function hrefOf(link) {
  if (!URL.canParse(link)) return link
  const { pathname, hash } = new URL(link)
  return pathname === location.pathname ? pathname + hash : link
}

let linkToken

/** The token of the link that was followed last. */
export function tokenOfLink() {
  return linkToken
}

/** Reads the token in the fragment of the address, and removes it from the address bar and the history. */
export function readFragment() {
  const [, purpose, token] = /^#(verify|reset)=(.+)$/.exec(location.hash) ?? []
  if (token === undefined) return
  history.replaceState(null, '', location.pathname)
  linkToken = decodeURIComponent(token)
  byId('verify').hidden = purpose !== 'verify'
  byId('reset').hidden = purpose !== 'reset'
  byId('from-email').hidden = false
  byId('from-email-title').focus()
}

export function forgetLink() {
  linkToken = undefined
  byId('from-email').hidden = true
}
