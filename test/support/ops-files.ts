/** The files in ops/ and the alerts of the rules. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { rules } from '../metrics-used.ts'

export const root = join(import.meta.dirname, '../..')
export const read = (file: string) => readFileSync(join(root, file), 'utf8')
export const list = (folder: string) => readdirSync(join(root, folder))

interface Alert {
  alert: string
  labels: { severity: string }
  annotations: { summary: string; description: string; runbook_url: string }
}
export const alerts = rules().filter((rule) => rule.alert !== undefined) as unknown as Alert[]
