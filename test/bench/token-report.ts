import { type Row, type Spread, spread, table } from './report.ts'
import type { RowName } from './token-rows.ts'

// The rows of bound and remembered tokens to their section of BENCHMARKS.md. Nothing is asserted here.

/** One row: server CPU of each round in microseconds a question, and whatever was said that was not `allow`. */
export interface TokenRow {
  readonly name: RowName
  readonly cpu: readonly number[]
  readonly perSecond: readonly number[]
  /** Share of the time in which another process held the server's core, each round. */
  readonly starved: readonly number[]
  /** Reasons of answers that were no `allow`, warm-up included. */
  readonly refused: readonly string[]
}

export interface TokenResults {
  readonly rows: readonly TokenRow[]
  /** Microseconds of one verification and nothing else, each round. */
  readonly signatures: { readonly RS256: readonly number[]; readonly ES256: readonly number[] }
  readonly rounds: number
  readonly asked: number
  readonly day: string
  readonly machine: string
  readonly flags: readonly string[]
  /** Load average before and after. */
  readonly loads: readonly [before: number, after: number]
  readonly seconds: number
}

interface Comparison {
  readonly one: RowName
  readonly other: RowName
  readonly aim?: string
}

const RATIOS: readonly Comparison[] = [
  { one: 'DPoP, warm key, new token', other: 'bearer, new token', aim: '<= 2.5x' },
  { one: 'DPoP, warm key, known token', other: 'bearer, known token', aim: '<= 2.5x' },
  { one: 'DPoP, cold key, new token', other: 'bearer, new token' },
  { one: 'mTLS-bound, new token', other: 'bearer, new token' },
  { one: 'mTLS-bound, known token', other: 'bearer, known token' },
  { one: 'bearer, known token', other: 'bearer, new token' },
]

/** The section, markers included. */
export function tokenSection(results: TokenResults): string {
  const text = [
    heading(results),
    table([['row', 'per s', 'srv CPU', 'least', 'most', 'starved'], ...results.rows.map(runRow)]),
    table([['what', 'medians', 'ratio', 'ratio of the least', 'aim'], ...comparisons(results)]),
    signatureLine(results.signatures),
  ].join('\n')
  return `${BEGIN}\n${text.trimEnd()}\n\n${END}\n`
}

const BEGIN = '<!-- tokens: written by test/bench/bench.ts -->'
const END = '<!-- end of tokens -->'

/** The page with this section instead of the one it has; one that has none gets it before `heading`, or at its end. */
export function withSection(page: string, section: string, heading: string): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin >= 0 && end > begin)
    return `${page.slice(0, begin)}${section.trimEnd()}${page.slice(end + END.length)}`
  const at = page.indexOf(heading)
  return at < 0 ? `${page.trimEnd()}\n\n${section}` : `${page.slice(0, at)}${section}\n${page.slice(at)}`
}

function heading({ rounds, asked, day, machine, flags, loads, seconds }: TokenResults): string {
  const [before, after] = loads.map((load) => load.toFixed(1))
  return `## Bound and remembered tokens

Made by \`make bench\`, alone by \`node test/bench/bench.ts --only tokens --write\`. Only ratios of one run compare.

- ${machine}, ${day}; ${seconds.toFixed(0)} s in all, load average ${before} before and ${after} after.
- One sidecar (\`node ${flags.join(' ')}\`, decision log on) on one core, asked over one
  CheckStream from another, 32 at once; ${rounds} interleaved rounds of ${asked} questions a row after an unmeasured one; what is known and needs no proof is
  asked five times as often, the empty RPC ten times. The same kind of question each time, one that the policy allows; a row with any other
  answer is VOID. Tokens are RS256, proofs ES256, made before the clock starts; every proof is used once, in the memory of this one replica.
- New: no token comes twice. Known: ten tokens that were verified before. Warm: ten client keys; cold: a key for each question.
  Empty RPC: grpc-js sends as many bytes back, and decodes, decides and logs nothing.
- \`srv CPU\`: microseconds of the whole process a question, medians of the rounds; \`starved\`: share of the time in
  which another process held the server's core.
`
}

function runRow(row: TokenRow): Row {
  if (row.cpu.length === 0 || row.refused.length > 0) return [row.name, why(row), '', '', '', '']
  const { median, least } = spread(row.cpu)
  return [
    row.name,
    spread(row.perSecond).median.toFixed(0),
    median.toFixed(1),
    least.toFixed(1),
    Math.max(...row.cpu).toFixed(1),
    `${(spread(row.starved).median * 100).toFixed(0)}%`,
  ]
}

function why({ refused }: TokenRow): string {
  return `VOID: ${refused.length} not allowed (${[...new Set(refused)].slice(0, 3).join(', ')})`
}

function comparisons({ rows, signatures }: TokenResults): readonly Row[] {
  const ratios = RATIOS.map(({ one, other, aim = '' }): Row => {
    const name = `${one} / ${other}`
    const [a, b] = [valid(rows, one), valid(rows, other)]
    if (!a || !b) return [name, 'VOID', '', '', aim]
    return [name, medians(a, b, '/'), times(a.median / b.median), times(a.least / b.least), aim]
  })
  return [...ratios, besideSignature(rows, spread(signatures.ES256)), aboveEmpty(rows)]
}

// What is ours of a proof: the rest is one more signature.
function besideSignature(rows: readonly TokenRow[], es256: Spread): Row {
  const name = 'DPoP, warm key, new token / (bearer, new token + ES256)'
  const [a, b] = [valid(rows, 'DPoP, warm key, new token'), valid(rows, 'bearer, new token')]
  if (!a || !b) return [name, 'VOID', '', '', '']
  const floor = { median: b.median + es256.median, least: b.least + es256.least }
  return [name, medians(a, floor, '/'), times(a.median / floor.median), times(a.least / floor.least), '']
}

function signatureLine({ RS256, ES256 }: TokenResults['signatures']): string {
  const [token, proof] = [spread(RS256), spread(ES256)]
  const told = (name: string, { median, least }: Spread) =>
    `${name} ${median.toFixed(1)} (least ${least.toFixed(1)})`
  return `The bare signature checks: ${told('RS256', token)}, ${told('ES256', proof)} microseconds of CPU.\n`
}

function aboveEmpty(rows: readonly TokenRow[]): Row {
  const name = 'bearer, known token, minus empty RPC, microseconds'
  const aim = '< 15'
  const [a, b] = [valid(rows, 'bearer, known token'), valid(rows, 'empty RPC')]
  if (!a || !b) return [name, 'VOID', '', '', aim]
  return [name, medians(a, b, '-'), (a.median - b.median).toFixed(1), (a.least - b.least).toFixed(1), aim]
}

function valid(rows: readonly TokenRow[], name: RowName): Spread | undefined {
  const row = rows.find((one) => one.name === name)
  return row && row.cpu.length > 0 && row.refused.length === 0 ? spread(row.cpu) : undefined
}

function medians(one: Spread, other: Spread, sign: string): string {
  return `${one.median.toFixed(1)} ${sign} ${other.median.toFixed(1)}`
}

const times = (ratio: number): string => `${ratio.toFixed(2)}x`
