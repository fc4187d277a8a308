/** The Markdown documents of the repository: their code blocks, links, headings, and the paths that they name. */

import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const root = join(import.meta.dirname, '..')

/** A fenced code block. */
export interface Block {
  /** The text behind the opening fence, such as `sh no-test`. */
  info: string
  text: string
  line: number
  /** The HTML comment in the line before the block, or nothing. */
  comment: string | undefined
}

/** A document, by its path from the root of the repository. */
interface Document {
  file: string
  text: string
}

/** Every document that people read. */
export function documents(): Document[] {
  return ['*.md', 'docs/**/*.md', 'ops/**/*.md']
    .flatMap((pattern) => globSync(pattern, { cwd: root }))
    .toSorted()
    .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }))
}

/** The code blocks of a document, in order. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  const lines = text.split('\n')
  for (let index = 0; index < lines.length; index++) {
    const [, info] = /^```(.*)$/.exec(lines[index] as string) ?? []
    if (info === undefined) continue
    const end = lines.indexOf('```', index + 1)
    const [, comment] = /^<!-- (.*) -->$/.exec(lines[index - 1] ?? '') ?? []
    blocks.push({ info, text: lines.slice(index + 1, end).join('\n'), line: index + 1, comment })
    index = end
  }
  return blocks
}

const withoutCode = (text: string) => text.replaceAll(/^```[\s\S]*?^```$/gm, '')

/** The anchors that GitHub makes of the headings. */
function anchorsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-')
  )
}

/** The links to files and headings that do not exist, one line each. */
export function brokenLinks({ file, text }: Document): string[] {
  const prose = withoutCode(text).replaceAll(/`[^`\n]*`/g, '``')
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target as string)
  return targets.flatMap((target) => {
    if (/^[a-z]+:/.test(target)) return []
    const [path = '', anchor] = target.split('#')
    const linked = path === '' ? file : join(dirname(file), path)
    if (!existsSync(join(root, linked))) return [`${file}: ${target} does not exist`]
    if (anchor === undefined || anchorsOf(readFileSync(join(root, linked), 'utf8')).includes(anchor)) return []
    return [`${file}: ${relative('.', linked)} has no heading #${anchor}`]
  })
}

const folders = 'common|gateway|user-svc|session-svc|log-sink|log-viewer|stack|bench|test|ops|docs|proto|gen'
const codePath = new RegExp(
  `(?<![\\w./])((?:${folders})/[\\w./-]*\\.(?:ts|md|yml|yaml|json|proto|cfg|example|sh))\\b`,
  'g'
)

/** The files of the repository that a document names and that do not exist, one line each. */
export function missingFiles({ file, text }: Document): string[] {
  return [...text.matchAll(codePath)]
    .map(([, path]) => path as string)
    .filter((path) => !existsSync(join(root, path)))
    .map((path) => `${file} names ${path}, which does not exist`)
}
