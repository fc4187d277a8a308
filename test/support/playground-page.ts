/** Drives the playground in a browser, as its user does. */

import { join } from 'node:path'
import type { Locator, Page } from 'playwright-core'
import type { Test } from 'tap'
import { accessibilityViolations } from './browser.ts'

const desktop = { width: 1280, height: 900 }
const phone = { width: 360, height: 740 }

/** The playground on a page; `folder` gets the screenshots. */
export function playgroundOn(page: Page, folder: string) {
  let shots = 0

  const section = (id: string) => page.locator(`#${id}`)
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click()

  /** Waits for an announcement of the page. */
  async function announces(text: string): Promise<void> {
    await page.locator('#status', { hasText: text }).waitFor()
  }

  /** Fills the fields of a form by their labels. */
  async function fill(form: string, fields: Record<string, string>): Promise<void> {
    for (const [label, value] of Object.entries(fields)) {
      await section(form).getByLabel(label, { exact: true }).fill(value)
    }
  }

  /** Opens a part of the page that is closed at first. */
  async function unfold(name: string): Promise<void> {
    await page.locator('details:not([open]) > summary', { hasText: name }).click()
  }

  /** The newest email to an address whose subject matches. */
  function email(to: string, subject: RegExp): Locator {
    const emails = section('emails').getByRole('listitem')
    return emails
      .filter({ hasText: `to ${to},` })
      .filter({ hasText: subject })
      .first()
  }

  return {
    section,
    press,
    announces,
    fill,
    unfold,

    async logIn(email: string, password: string, mode: 'cookie' | 'bearer token'): Promise<void> {
      await fill('credentials', { Address: email, Password: password })
      await page.getByRole('radio', { name: mode }).check()
      await press('Log in')
    },

    email,

    /** Follows the link of the newest email to an address, whose subject matches. */
    async followLink(to: string, subject: RegExp): Promise<void> {
      await email(to, subject).getByRole('link', { name: 'Follow the link of this email' }).click()
      await section('from-email').waitFor()
    },

    /**
     * Checks a state of the page: no violation of accessibility in both colour schemes, no horizontal scrolling on a phone.
     * Takes a screenshot of each.
     */
    async checkState(t: Test, name: string): Promise<void> {
      const number = String(++shots).padStart(2, '0')
      for (const [device, viewport, colorScheme] of [
        ['phone', phone, 'dark'],
        ['desktop', desktop, 'light']
      ] as const) {
        await page.setViewportSize(viewport)
        await page.emulateMedia({ colorScheme })
        t.same(await accessibilityViolations(page), [], `${name}, ${device}: axe-core`)
        const width = (await page.evaluate('document.documentElement.scrollWidth')) as number
        t.ok(width <= viewport.width, `${name}, ${device}: ${width} px wide`)
        const file = `${number}-${name.replaceAll(' ', '-')}-${device}.png`
        await page.screenshot({ path: join(folder, file), fullPage: true })
      }
    }
  }
}
