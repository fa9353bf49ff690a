import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A test, or a row of a table of tests, that says by its name which requirement or attack it shows. */
export interface Title {
  readonly file: string
  readonly ids: readonly string[]
  readonly title: string
}

const ID = String.raw`(?:00[0-4]-\d\d|NC-\d|attack \d{1,2}|[A-Z]\d{1,2})`
const PREFIX = new RegExp(`^(${ID}(?:(?:, | to | and |: | )${ID})*): `)
const LITERAL = /(['"`])((?:\\.|(?!\1)[^\\\n])*)\1/g

// Letters that other lists use as well: there, a number means a fault or a clause of SPIFFE.
const ELSEWHERE: Readonly<Record<string, RegExp>> = {
  D: /^test\/faults\//,
  E: /faults|redis|senders|families/,
  I: /^test\/(?:faults|cluster)\//,
}

/** All such names in the tests below `root`, by file and place. */
export function titlesIn(root: string): readonly Title[] {
  return globSync('test/**/*.ts', { cwd: root, exclude: ['test/reference/**'] })
    .toSorted()
    .flatMap((file) => titlesOf(file, readFileSync(join(root, file), 'utf8')))
}

/** Those of one file. A test that is skipped shows nothing. */
export function titlesOf(file: string, text: string): readonly Title[] {
  return [...text.matchAll(LITERAL)].flatMap(({ 2: literal = '', index }) => {
    const [prefix = '', named = ''] = PREFIX.exec(literal) ?? []
    if (!prefix || /\.(?:skip|todo)\($/.test(text.slice(0, index).trimEnd())) return []
    const ids = idsIn(named).filter((id) => !ELSEWHERE[id.charAt(0)]?.test(file))
    const title = literal.slice(prefix.length).replaceAll(/\\(.)/g, '$1')
    return ids.length > 0 ? [{ file, ids, title }] : []
  })
}

function idsIn(named: string): readonly string[] {
  return named.split(/, |: | and | (?!to )(?<!to )(?<!attack )/).flatMap((part) => {
    const [from = '', to] = part.split(' to ')
    return to === undefined ? [from] : between(from, to)
  })
}

/** `000-17 to 000-19` is three ids. */
function between(from: string, to: string): readonly string[] {
  const [, stem = '', first = ''] = /^(.*?)(\d+)$/.exec(from) ?? []
  const last = /\d+$/.exec(to)?.[0] ?? ''
  const count = Number(last) - Number(first) + 1
  return Array.from(
    { length: Math.max(count, 0) },
    (_, index) => `${stem}${String(Number(first) + index).padStart(first.length, '0')}`,
  )
}
