/** The templates of the emails: the built-in ones, or those of `mail.templates`; all are checked at start. */

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '#common/config/load.ts'
import { type EmailPurpose, emailPurposes, noticePurposes } from './email-purposes.ts'

/** The content of an email. */
export interface EmailContent {
  subject: string
  text: string
  html: string
}

/** Fills the templates of a purpose. */
export type FillTemplates = (purpose: EmailPurpose, values: TemplateValues) => EmailContent

/** The values of the placeholders; both are empty in a notice. */
export interface TemplateValues {
  link: string
  validFor: string
}

const builtIn = join(import.meta.dirname, 'templates')
const maxBytes = 102_400
const placeholders = ['link', 'validFor'] as const satisfies (keyof TemplateValues)[]
const subjectLine = /^Subject: ([^\p{C}]{1,150})\r?\n\r?\n/u
const fileNames = emailPurposes.flatMap((purpose) => [`${purpose}.txt`, `${purpose}.html`])

/**
 * Reads the templates. A directory may hold templates of some purposes, each as text and HTML; the others are built in.
 *
 * @param directory empty for the built-in templates
 * @throws {ConfigError} that names the file and the mistake
 */
export function loadTemplates(directory: string): FillTemplates {
  const own = directory === '' ? [] : ownFiles(directory)
  const contents = new Map(
    emailPurposes.map((purpose) => [
      purpose,
      readContent(own.includes(`${purpose}.txt`) ? directory : builtIn, purpose)
    ])
  )
  return (purpose, values) => {
    const { subject, text, html } = contents.get(purpose) as EmailContent
    return { subject, text: fill(text, values, (value) => value), html: fill(html, values, escapeHtml) }
  }
}

/** The names of the templates in a directory. */
function ownFiles(directory: string): string[] {
  const files = attempt(directory, () => readdirSync(directory)).filter((name) => /\.(txt|html)$/.test(name))
  if (files.length === 0)
    throw new ConfigError(`mail.templates: ${directory} has no template, takes ${fileNames.join(', ')}`)
  for (const name of files) {
    if (!fileNames.includes(name))
      throw new ConfigError(`mail.templates: ${name} is no template, takes ${fileNames.join(', ')}`)
    const other = name.endsWith('.txt') ? name.replace(/txt$/, 'html') : name.replace(/html$/, 'txt')
    if (!files.includes(other)) throw new ConfigError(`mail.templates: ${name} has no ${other} beside it`)
  }
  return files
}

function readContent(directory: string, purpose: EmailPurpose): EmailContent {
  const [textFile, htmlFile] = [`${purpose}.txt`, `${purpose}.html`]
  const written = readTemplate(directory, textFile, purpose)
  const [head, subject] = subjectLine.exec(written) ?? []
  if (head === undefined || subject === undefined || /\{\{/.test(subject)) {
    throw new ConfigError(
      `mail.templates: ${textFile} takes "Subject: " with 1 to 150 characters without placeholders as its first line, and an empty second line`
    )
  }
  return { subject, text: written.slice(head.length), html: readTemplate(directory, htmlFile, purpose) }
}

function readTemplate(directory: string, file: string, purpose: EmailPurpose): string {
  const path = join(directory, file)
  const bytes = attempt(file, () => {
    if (statSync(path).size > maxBytes)
      throw new ConfigError(`mail.templates: ${file} is larger than ${maxBytes} bytes`)
    return readFileSync(path)
  })
  const written = attempt(file, () => new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  const accepted: readonly string[] = noticePurposes.includes(purpose) ? [] : placeholders
  const found = [...written.matchAll(/\{\{(.*?)\}\}/gs)].map(([, name = '']) => name)
  const takes = accepted.length === 0 ? 'no placeholder' : accepted.map((name) => `{{${name}}}`).join(', ')
  const unknown = found.find((name) => !accepted.includes(name))
  if (unknown !== undefined) throw new ConfigError(`mail.templates: ${file} has {{${unknown}}}, takes ${takes}`)
  if (accepted.includes('link') && !found.includes('link'))
    throw new ConfigError(`mail.templates: ${file} lacks {{link}}`)
  return written
}

/** @throws {ConfigError} with the code of the error, which may be one of the file system or of the decoder */
function attempt<T>(name: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code } = error as NodeJS.ErrnoException
    const problem = code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'is not UTF-8' : `cannot be read (${code})`
    throw new ConfigError(`mail.templates: ${name} ${problem}`)
  }
}

function fill(template: string, values: TemplateValues, encode: (value: string) => string): string {
  return template.replaceAll(/\{\{(link|validFor)\}\}/g, (_, name: keyof TemplateValues) => encode(values[name]))
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escapeHtml(value: string): string {
  return value.replaceAll(/[&<>"']/g, (character) => entities[character] as string)
}
