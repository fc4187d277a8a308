/** A real Chromium for tests, with checks of accessibility and screenshots. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AxeResults } from 'axe-core'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import type { Test } from 'tap'

/** The deadline of each step: long enough for a busy machine. */
export const stepWithinMs = 60_000

const program = spawnSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).stdout.trim()

/** Whether Chromium is installed. */
export const hasChromium = program !== ''

/** Starts Chromium; it ends with the test. */
export async function launchChromium(t: Pick<Test, 'teardown'>): Promise<Browser> {
  // Its sandbox needs another user than root, and /dev/shm is small in containers.
  const browser = await chromium.launch({
    executablePath: program,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
    // Playwright turns it off.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
    timeout: stepWithinMs
  })
  t.teardown(() => browser.close())
  return browser
}

/** A browser profile of its own: cookies and pages. */
export async function newProfile(
  browser: Browser,
  options: Parameters<Browser['newContext']>[0] = {}
): Promise<BrowserContext> {
  const profile = await browser.newContext(options)
  profile.setDefaultTimeout(stepWithinMs)
  profile.setDefaultNavigationTimeout(stepWithinMs)
  return profile
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What axe-core finds on a page: one line for each violation, with the elements. */
export async function accessibilityViolations(page: Page): Promise<string[]> {
  // Evaluated through the debugger, which the page's Content-Security-Policy does not restrict.
  await page.evaluate(axe)
  const results = (await page.evaluate('axe.run()')) as AxeResults
  return results.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`)
}

/** A new folder for the screenshots of a test file, which stay after the test. */
export function screenshotFolder(name: string): string {
  const parent = join(tmpdir(), 'auth-backend-screenshots')
  mkdirSync(parent, { recursive: true })
  return mkdtempSync(join(parent, `${name}-`))
}
