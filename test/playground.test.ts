/** The complete lifecycle of an account on the playground, in a real Chromium, on the real product. */

import t, { type Test } from 'tap'
import { hasChromium, launchChromium, newProfile, screenshotFolder } from './support/browser.ts'
import { playgroundOn } from './support/playground-page.ts'
import { startPlayground } from './support/playground-product.ts'
import { newAddress, password } from './support/product.ts'

const nextPassword = 'a kettle of seven owls'
const lastPassword = 'eleven quiet lanterns drift'
const email = newAddress()
const nextEmail = newAddress()

if (!hasChromium) {
  t.comment('Chromium is not installed: the playground was not tested')
  t.end()
} else {
  const [{ url }, browser] = await Promise.all([startPlayground(t), launchChromium(t)])
  const page = await (await newProfile(browser)).newPage()
  const errors = collectErrors()
  const shots = screenshotFolder('playground')
  const playground = playgroundOn(page, shots)
  const { announces, checkState, fill, followLink, logIn, press, section, unfold } = playground
  const value = (id: string) => section(`account-${id}`).textContent()
  const sessions = section('sessions').getByRole('listitem')

  // Each step needs the ones before it: the first failure ends the test.
  await t.test('the complete lifecycle of an account', async (t) => {
    await rejectsInvalidInput(t)
    await registers(t)
    await verifiesTheAddress(t)
    await logsInByToken(t)
    await changesThePassword(t)
    await resetsThePassword(t)
    await changesTheAddress(t)
    await logsOutAndDeletes(t)
    await showsNoSecret(t, ['-b cookies.txt', '$EMAIL_TOKEN'])
    await callsFromSwaggerUi(t)
    t.same(errors, [], 'no script failed, and the policy blocked nothing')
  })
  // The report of the tests has no comments.
  console.error(`screenshots: ${shots}`)

  /** Errors of scripts and of the Content-Security-Policy; the browser also lists each response of 400 and above. */
  function collectErrors(): string[] {
    const found: string[] = []
    page.on('pageerror', (error) => found.push(error.message))
    page.on('console', (message) => {
      const isStatus = message.text().startsWith('Failed to load resource')
      if (message.type() === 'error' && !isStatus) found.push(message.text())
    })
    return found
  }

  async function callsFromSwaggerUi(t: Test) {
    await page.goto(url.replace('/playground', '/docs'))
    const operation = page.locator('.opblock-get', { has: page.locator('[data-path="/session"]') })
    await operation.locator('.opblock-summary-control').click()
    await operation.locator('.execute').click()
    const status = operation.locator('.live-responses-table .response-col_status')
    t.match(await status.filter({ hasText: /\d{3}/ }).first().textContent(), /^401/)
    const background = 'getComputedStyle(document.querySelector(".opblock-get .execute")).backgroundColor'
    t.not(await page.evaluate(background), 'rgba(0, 0, 0, 0)', 'the style sheet was loaded')
    await page.screenshot({ path: `${shots}/docs.png`, fullPage: false })
  }

  async function rejectsInvalidInput(t: Test) {
    await page.goto(url)
    await section('credentials').waitFor()
    await checkState(t, 'start')
    await fill('credentials', { Address: 'no address', Password: password })
    await press('Register')
    await announces('400')
    const field = section('email')
    t.equal(await field.getAttribute('aria-invalid'), 'true', 'the error is beside its field')
    t.ok(await field.evaluate((input) => input === input.ownerDocument.activeElement), 'the field has the focus')
    await checkState(t, 'invalid input')
  }

  async function registers(t: Test) {
    await fill('credentials', { Address: email, Password: password })
    await press('Register')
    await announces('Registered and logged in.')
    await sessions.first().waitFor()
    t.equal(await value('email'), email)
    t.equal(await value('verified'), 'no')
    t.equal(await value('credential'), 'cookie')
    t.equal(await page.evaluate('document.cookie'), '', 'no script can read the cookie')
    const lifetime = sessions.getByText(/^Ends in 29 d 23 h \d+ min \d+ s$/)
    const before = await lifetime.textContent()
    await lifetime.filter({ hasNotText: String(before) }).waitFor()
    await checkState(t, 'registered')
  }

  async function verifiesTheAddress(t: Test) {
    await followLink(email, /Confirm your email address/)
    t.equal(page.url(), url, 'the token is not in the address bar')
    await press('Validate the session')
    await announces('The session is valid.')
    t.equal(await value('verified'), 'no', 'the link alone verifies nothing')
    await checkState(t, 'verification link')
    await press('Verify the address')
    await announces('The address is verified.')
    await section('account-verified').filter({ hasText: 'yes' }).waitFor()
  }

  async function logsInByToken(t: Test) {
    await logIn(email, password, 'bearer token')
    await announces('Logged in.')
    await section('account-credential').filter({ hasText: 'bearer token' }).waitFor()
    await sessions.nth(1).waitFor()
    const devices = await sessions.allTextContents()
    t.equal(devices.length, 2, 'the cookie and the token are two sessions')
    t.ok(
      devices.every((text) => text.includes('Chrome/')),
      'each with its device'
    )
    t.equal(devices.filter((text) => text.includes('(this session)')).length, 1)
    await checkState(t, 'two sessions')
    await press('End all other sessions')
    await announces('All other sessions have ended.')
    await sessions.nth(1).waitFor({ state: 'detached' })
  }

  async function changesThePassword(t: Test) {
    await unfold('Change the password')
    await fill('change-password', { 'Current password': lastPassword, 'New password': nextPassword })
    await press('Change the password')
    await announces('403')
    await checkState(t, 'wrong password')
    await fill('change-password', { 'Current password': password, 'New password': nextPassword })
    await press('Change the password')
    await announces('The password is changed.')
    await showsNoSecret(t, ['Bearer $TOKEN', 'X-Device-Token: $DEVICE_TOKEN', '"$CURRENT_PASSWORD"', '"$NEW_PASSWORD"'])
    // The page still loads the account of the new session: that request has the token.
    const account = page.waitForResponse(
      (response) => response.url().endsWith('/account') && !response.request().headers().authorization
    )
    await page.reload()
    t.equal((await account).status(), 401, 'the token was in the memory of the page only')
  }

  async function resetsThePassword(t: Test) {
    await fill('credentials', { Address: email })
    await press('Forgot my password')
    await announces('If an account has this address, it gets an email.')
    await followLink(email, /Set a new password/)
    await checkState(t, 'reset link')
    await fill('reset', { 'New password': lastPassword })
    await press('Set the new password')
    await announces('The new password is set.')
    await logIn(email, lastPassword, 'cookie')
    await announces('Logged in.')
    await page.reload()
    await section('account').waitFor()
    t.equal(await value('email'), email, 'the cookie keeps the session over a reload')
  }

  async function changesTheAddress(t: Test) {
    await unfold('Change the address')
    await fill('change-email', { 'New address': nextEmail, Password: lastPassword })
    await press('Send a link to the new address')
    await announces('The new address gets an email')
    await playground.email(email, /about to change/).waitFor()
    await followLink(nextEmail, /Confirm your new email address/)
    t.equal(await value('email'), email, 'the link alone changes nothing')
    await press('Verify the address')
    await section('account-email').filter({ hasText: nextEmail }).waitFor()
    await checkState(t, 'changed address')
  }

  async function logsOutAndDeletes(t: Test) {
    await press('Log out')
    await announces('Logged out.')
    await section('account').waitFor({ state: 'hidden' })
    await logIn(nextEmail, lastPassword, 'cookie')
    await announces('Logged in.')
    await unfold('Delete the account')
    await checkState(t, 'before the deletion')
    await press('Delete the account now')
    await announces('The account is deleted.')
    await section('account').waitFor({ state: 'hidden' })
    await logIn(nextEmail, lastPassword, 'cookie')
    await announces('401')
    await checkState(t, 'deleted')
  }

  /** @param contains other parts of the calls since the page was loaded */
  async function showsNoSecret(t: Test, contains: string[]) {
    const shown = String(await section('calls').textContent())
    t.notMatch(shown, /ses_[\w-]{20}/, 'no call shows the token of a session')
    for (const secret of [password, nextPassword, lastPassword]) t.notOk(shown.includes(secret), 'nor a password')
    for (const part of ['curl -i', '"$PASSWORD"', ...contains]) {
      t.ok(shown.includes(part), `the calls show ${part}`)
    }
  }
}
