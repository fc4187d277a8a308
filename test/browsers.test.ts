/** Pages of other origins in a real Chromium: what a listed origin can do, and what every other one cannot. */

import t, { type Test } from 'tap'
import { hasChromium, launchChromium, newProfile } from './support/browser.ts'
import { type Attempt, leaveAndReturn, recordRequests, send, serveOrigin, submitForm } from './support/foreign-pages.ts'
import { startPlayground } from './support/playground-product.ts'
import { newAddress, password } from './support/product.ts'

const nextPassword = 'nine owls at noon'

if (!hasChromium) {
  t.comment('Chromium is not installed: pages of other origins were not tested')
  t.end()
} else {
  // A port is part of an origin and not of a site: pages of localhost are of one site, so the browser sends them the cookie.
  const [listed, unlisted, otherSite, listedOtherSite] = await Promise.all([
    serveOrigin(t, 'localhost'),
    serveOrigin(t, 'localhost'),
    serveOrigin(t, '127.0.0.1'),
    serveOrigin(t, '127.0.0.1')
  ])
  const GATEWAY_ORIGINS = `${listed},${listedOtherSite}`
  const [{ product }, browser] = await Promise.all([startPlayground(t, { GATEWAY_ORIGINS }), launchChromium(t)])
  const gateway = `http://localhost:${product.ports.rest}`

  /** A browser whose user has a session by cookie, made on a page of the gateway itself. */
  async function loggedIn() {
    const profile = await newProfile(browser)
    const own = await profile.newPage()
    await own.goto(`${gateway}/playground`)
    const email = newAddress()
    const body = { email, password, cookie: true }
    const answer = await send(own, gateway, { method: 'POST', path: '/reg', body })
    if (answer === 'blocked' || answer.status !== 201) throw new Error(`no session: ${JSON.stringify(answer)}`)
    const cookie = async () => (await profile.cookies(gateway)).find(({ name }) => name === '__Host-session')
    return { profile, own, email, cookie }
  }

  /** Registers an account of an attacker. */
  async function registerAttacker() {
    const { email } = await product.register()
    return { email, password, cookie: true }
  }

  t.test('a page of a listed origin calls with credentials, and reads the responses', async (t) => {
    const profile = await newProfile(browser)
    const page = await profile.newPage()
    await page.goto(listed)
    const email = newAddress()
    const calls: [Attempt, number][] = [
      [{ method: 'POST', path: '/reg', body: { email, password, cookie: true } }, 201],
      [{ method: 'GET', path: '/session' }, 200],
      [{ method: 'POST', path: '/auth', body: { email, password, cookie: true } }, 200],
      [{ method: 'GET', path: '/sessions' }, 200],
      [{ method: 'DELETE', path: '/sessions' }, 204],
      [{ method: 'POST', path: '/email/verification' }, 202],
      [{ method: 'PUT', path: '/password', body: { currentPassword: password, newPassword: nextPassword } }, 200],
      [{ method: 'DELETE', path: '/delete' }, 204],
      [{ method: 'GET', path: '/session' }, 401]
    ]
    for (const [attempt, status] of calls) {
      const seen = await send(page, gateway, attempt)
      t.match(seen, { status, requestId: /^[0-9a-f]{32}$/ }, `${attempt.method} ${attempt.path}`)
      if (seen !== 'blocked') t.notMatch(seen.body, /ses_/, 'the token is in the cookie alone')
      t.equal(await page.evaluate('document.cookie'), '', 'scripts cannot read the cookie')
    }
    t.same(await profile.cookies(gateway), [], 'the deletion cleared the cookie')
    await profile.close()
  })

  t.test('a listed origin of another site needs the token: the browser sends it no cookie', async (t) => {
    const { profile, email } = await loggedIn()
    const page = await profile.newPage()
    await page.goto(listedOtherSite)
    t.match(await send(page, gateway, { method: 'GET', path: '/session' }), { status: 401 })
    const login = await send(page, gateway, { method: 'POST', path: '/auth', body: { email, password } })
    t.match(login, { status: 200 })
    const { token } = JSON.parse(login === 'blocked' ? '{}' : login.body).session
    t.match(await send(page, gateway, { method: 'GET', path: '/session', token }), { status: 200 })
    await profile.close()
  })

  t.test('the cookie belongs to the gateway alone, and no script reads it', async (t) => {
    const { profile, own, cookie } = await loggedIn()
    t.match(await cookie(), { httpOnly: true, secure: true, sameSite: 'Lax', path: '/', domain: 'localhost' })
    t.equal(await own.evaluate('document.cookie'), '')
    t.same(await own.evaluate('cookieStore.getAll()'), [])
    await profile.close()
  })

  for (const [what, origin] of [
    ['an unlisted origin of the same site, with the cookie', unlisted],
    ['another site', otherSite]
  ] as const) {
    t.test(`${what}: reads nothing and changes nothing`, async (t) => {
      const { profile, own, email, cookie } = await loggedIn()
      const before = await cookie()
      const page = await profile.newPage()
      await page.goto(origin)
      const requests = recordRequests(page, gateway)
      const credentials = await registerAttacker()
      const newAccount = { ...credentials, email: newAddress() }
      await sendFromScripts(t, page, credentials, newAccount)
      for (const path of ['/auth', '/reg', '/email/verification', '/password/reset']) {
        for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
          await submitForm(page, gateway + path, type, path === '/reg' ? newAccount : credentials)
        }
      }
      const changing = requests.filter(({ method }) => method !== 'GET' && method !== 'OPTIONS')
      const accepted = changing.filter(({ status }) => status < 400)
      t.ok(changing.length >= 12, 'the forms reached the gateway')
      t.same(accepted, [], 'the gateway rejected each request that could change something')
      const emailing = changing.filter(({ path }) => path === '/email/verification').map(({ status }) => status)
      t.equal(emailing.includes(403), origin === unlisted, 'a request with the cookie is 403')
      t.equal(emailing.includes(401), origin === otherSite, 'the browser sends no cookie for another site')
      const account = await send(own, gateway, { method: 'GET', path: '/account' })
      t.match(account, { status: 200, body: new RegExp(email) }, 'the session and the account are the same')
      t.same(await cookie(), before, 'and the cookie')
      const login = await product.call('POST', '/auth', { json: { email: newAccount.email, password } })
      t.equal(login.status, 401, 'no account was registered')
      await profile.close()
    })
  }

  /** Sends each kind of request from a script: with a preflight, which fails, and without, whose response the policy of the gateway blocks. */
  async function sendFromScripts(t: Test, page: Parameters<typeof send>[0], credentials: object, newAccount: object) {
    const preflighted: Attempt[] = [
      { method: 'GET', path: '/account' },
      { method: 'GET', path: '/sessions' },
      { method: 'DELETE', path: '/logout' },
      { method: 'DELETE', path: '/delete' },
      { method: 'DELETE', path: '/sessions' },
      { method: 'POST', path: '/auth', body: credentials },
      { method: 'POST', path: '/reg', body: newAccount },
      { method: 'PUT', path: '/password', body: { currentPassword: password, newPassword: nextPassword } },
      { method: 'POST', path: '/email/verification' }
    ]
    for (const attempt of preflighted) {
      t.equal(await send(page, gateway, attempt), 'blocked', `cors ${attempt.method} ${attempt.path}`)
    }
    const opaque: Attempt[] = [
      { method: 'GET', path: '/account' },
      { method: 'POST', path: '/email/verification' },
      { method: 'POST', path: '/auth', body: credentials, type: 'text/plain' },
      { method: 'POST', path: '/reg', body: newAccount, type: 'text/plain' }
    ]
    for (const attempt of opaque) {
      const seen = await send(page, gateway, { ...attempt, mode: 'no-cors' })
      t.equal(seen, 'blocked', `no-cors ${attempt.method} ${attempt.path}`)
    }
  }

  t.test('a foreign page cannot log in a browser without a session', async (t) => {
    const profile = await newProfile(browser)
    const body = await registerAttacker()
    for (const origin of [unlisted, otherSite]) {
      const page = await profile.newPage()
      await page.goto(origin)
      t.equal(await send(page, gateway, { method: 'POST', path: '/auth', body }), 'blocked')
      await send(page, gateway, { method: 'POST', path: '/auth', body, mode: 'no-cors', type: 'text/plain' })
      await submitForm(page, `${gateway}/auth`, 'text/plain', body)
      t.same(await profile.cookies(gateway), [], 'the browser has no cookie')
    }
    await profile.close()
  })

  t.test('reload, history and the back/forward cache keep a session, and bring no ended one back', async (t) => {
    const { profile, own, email } = await loggedIn()
    const shown = own.locator('#account-email', { hasText: email })
    const page = await profile.newPage()
    await own.reload()
    await shown.waitFor()
    await leaveAndReturn(own, otherSite)
    await shown.waitFor()

    await page.goto(listed)
    await leaveAndReturn(page, `${listed}/elsewhere`)
    t.ok(await page.waitForFunction('isFromCache'), 'the page comes from the back/forward cache')
    t.match(await send(page, gateway, { method: 'GET', path: '/session' }), { status: 200 })
    t.match(await send(page, gateway, { method: 'DELETE', path: '/logout' }), { status: 204 })

    await leaveAndReturn(own, otherSite)
    await own.locator('#account').waitFor({ state: 'hidden' })
    await leaveAndReturn(page, `${listed}/elsewhere`)
    t.match(await send(page, gateway, { method: 'GET', path: '/session' }), { status: 401 })
    await profile.close()
  })
}
