/** The product with its playground: it writes emails to files, whose links lead to the page. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createProduct, longBudgets } from './product.ts'

/** Starts the product. @returns the product, the URL of the page, and the directory of the emails */
export async function startPlayground(t: Pick<Test, 'teardown'>, overrides: Record<string, string> = {}) {
  const product = await createProduct(t, { ...longBudgets, ...overrides })
  const url = `http://localhost:${product.ports.rest}/playground`
  const mailDirectory = join(product.dataDir, 'mail')
  const key = () => `test:${randomBytes(32).toString('base64')}`
  Object.assign(product.env, {
    USER_SVC_BRUTE_FORCE_DEVICE_KEYS: key(),
    MAIL_URL: `file:${mailDirectory}`,
    MAIL_FROM: 'Example <auth@example.org>',
    MAIL_KEYS: key(),
    MAIL_LINKS_VERIFY: `${url}#verify={token}`,
    MAIL_LINKS_RESET: `${url}#reset={token}`
  })
  await product.startAll()
  return { product, url, mailDirectory }
}
