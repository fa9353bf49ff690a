import { cpus, loadavg, release } from 'node:os'
import { type Entrant, type Pool, SATURATED, SINGLE } from './contest.ts'
import type { Pace, Run } from './load.ts'

// Numbers to the page that BENCHMARKS.md keeps. Nothing is asserted here.

export interface Cell {
  readonly name: string
  readonly pool: Pool
  readonly pace: Pace
  readonly runs: readonly Run[]
  readonly wrong: number
}

export interface Results {
  readonly cells: readonly Cell[]
  /** Microseconds of one bare signature check. */
  readonly signature: Spread
  readonly entrants: readonly Entrant[]
  readonly seconds: number
  readonly rounds: number
  readonly tokens: number
  readonly tokenBytes: number
  readonly flags: readonly string[]
  readonly serverCore: number
  readonly clientCore: number
}

export function report(results: Results): string {
  const sections = [
    heading(results),
    '## Ratios\n\nServer CPU per decision unless it says otherwise; `aim` is the goal we set ourselves.\n',
    table(ratioRows(results)),
    signatureLine(results),
    '## Every run\n',
    `Medians of ${results.rounds} interleaved round(s), microseconds. ${LEGEND}\n`,
    table(runRows(results.cells)),
    '## Start and memory\n',
    table(memoryRows(results)),
    clientFloor(results.cells),
  ]
  return `${sections.join('\n')}\n`
}

const LEGEND = [
  '`srv CPU`, `cli CPU`: CPU time of the whole process per decision, `least` that of the best round; `busy`: share of',
  'its core. Notes: `client-bound`, the generator was the slower end; `starved`, share of the time in which another',
  "process held the server's core; `VOID`, the open-loop generator itself was late (99th percentile); `behind`, the",
  'offered rate was not reached (half a second piled up ends a run); `shed`, questions refused for overload.',
].join('\n')

const LATE_US = 500
const BUSY = 0.9
const STARVED = 0.1
const BEHIND = 0.97

function heading(results: Results): string {
  const { tokens, tokenBytes, flags, rounds, seconds, serverCore, clientCore } = results
  const [cpu] = cpus()
  const [load = 0] = loadavg()
  const day = new Date().toISOString().slice(0, 10)
  const where = serverCore === clientCore ? 'BOTH ENDS ON ONE CORE' : 'server on one core, client on another'
  return `# Benchmarks

Made by \`make bench\` (\`node test/bench/bench.ts --write\`). Rerun it: only ratios of one run compare.

- ${cpu?.model.trim()}, ${cpus().length} cores, Linux ${release()}, Node ${process.versions.node}, ${day}; ${rounds} round(s),
  ${seconds.toFixed(0)} s in all, load average at the end ${load.toFixed(1)} (this bench alone makes about 2).
- ${where}; Unix sockets; ${tokens} distinct RS256 tokens of ${tokenBytes} bytes,
  or 10 repeated ones; 70 % allow. Every answer was read in full and found right before the clock ran; whether it permits
  is checked while it runs. Before each run an eighth of it goes unmeasured.
- Portcullis: emitted JavaScript, \`node ${flags.join(' ')}\`,
  decision log on, into a pipe that a process on the client's core reads and drops. The baselines log nothing:
  \`opa run --server\` with the same checks and rules in Rego, its JWT cache on for repeated tokens; \`jose\` and stock
  \`opa-wasm\` on our two bundles behind grpc-js.
- The client sends pre-encoded questions over bare \`node:http2\` (\`node:http\` for OPA), headers as grpc-js sends them.
`
}

function ratioRows({ cells, signature }: Results): readonly Row[] {
  const [unary, stream, jose] = ['Portcullis Check', 'Portcullis CheckStream', 'jose + opa-wasm'] as const
  const cpu = (name: string, pool: Pool = 'distinct') =>
    spread(found(cells, name, pool, SATURATED).map(({ serverCpu }) => serverCpu))
  const p50 = (name: string, pool: Pool) => spread(found(cells, name, pool, SINGLE).map((run) => run.p50))
  const streamEcho = cpu('echo stream')
  const streamFloor = {
    median: streamEcho.median + signature.median,
    least: streamEcho.least + signature.least,
  }
  const megabytes = (name: string) => (peakBytes(cells, name) / 1e6).toFixed(0)
  const rows: Row[] = [
    ['what', 'medians', 'ratio', 'ratio of the least', 'aim'],
    ratio('Check / unary echo', cpu(unary), cpu('echo unary'), '<= 2x'),
    ratio('CheckStream / (stream echo + signature)', cpu(stream), streamFloor, '<= 1.3x'),
    ['RSS at saturation, Check, MB', megabytes(unary), '', '', '< 110'],
    ['RSS at saturation, CheckStream, MB', megabytes(stream), '', '', '< 110'],
  ]
  const rivals = [
    ['distinct', 'opa run'],
    ['repeated', 'opa run, JWT cache'],
    ['distinct', jose],
    ['repeated', jose],
  ] as const
  for (const [pool, rival] of rivals) {
    rows.push(
      ratio(`${rival} / Check, ${pool}`, cpu(rival, pool), cpu(unary, pool)),
      ratio(`${rival} / CheckStream, ${pool}`, cpu(rival, pool), cpu(stream, pool)),
      ratio(`${rival} / Check, ${pool}, p50 at 1`, p50(rival, pool), p50(unary, pool)),
    )
  }
  return rows
}

/**
 * Of the rounds of one cell. A neighbour can only add to a time, so the least is the truest and the median
 * the honest one.
 */
export interface Spread {
  readonly median: number
  readonly least: number
}

export function spread(values: readonly number[]): Spread {
  return { median: middle(values), least: Math.min(...values) }
}

function ratio(what: string, one: Spread, other: Spread, aim = ''): Row {
  const medians = `${one.median.toFixed(1)} / ${other.median.toFixed(1)}`
  return [what, medians, times(one.median / other.median), times(one.least / other.least), aim]
}

function peakBytes(cells: readonly Cell[], name: string): number {
  const own = cells.filter((cell) => cell.name === name)
  return Math.max(...own.flatMap(({ runs }) => runs.map(({ rssBytes }) => rssBytes)))
}

function runRows(cells: readonly Cell[]): readonly Row[] {
  const head = [
    'who',
    'pace',
    'tokens',
    'p50',
    'p99',
    'per s',
    'srv CPU',
    'least',
    'busy',
    'cli CPU',
    'busy',
    'RSS MB',
    'notes',
  ]
  const rows = cells.map(({ name, pool, pace, runs }): Row => {
    const of = (pick: (run: Run) => number) => median(runs, pick)
    return [
      name,
      paceName(pace),
      pool,
      of(({ p50 }) => p50).toFixed(0),
      of(({ p99 }) => p99).toFixed(0),
      of(({ perSecond }) => perSecond).toFixed(0),
      of(({ serverCpu }) => serverCpu).toFixed(1),
      Math.min(...runs.map(({ serverCpu }) => serverCpu)).toFixed(1),
      percent(of(({ serverBusy }) => serverBusy)),
      // The open-loop generator spins between questions: its CPU time says nothing.
      'atOnce' in pace ? of(({ clientCpu }) => clientCpu).toFixed(1) : '-',
      'atOnce' in pace ? percent(of(({ clientBusy }) => clientBusy)) : '-',
      (of(({ rssBytes }) => rssBytes) / 1e6).toFixed(0),
      notes(pace, runs).join(', '),
    ]
  })
  return [head, ...rows]
}

function notes(pace: Pace, runs: readonly Run[]): readonly string[] {
  const of = (pick: (run: Run) => number) => median(runs, pick)
  const shed = runs.reduce((sum, { answers }) => sum + answers.shed, 0)
  const wrong = runs.reduce((sum, { answers }) => sum + answers.wrong, 0)
  const clientBound =
    'atOnce' in pace && of(({ clientBusy }) => clientBusy) > BUSY && of(({ serverBusy }) => serverBusy) < BUSY
  const late = of(({ lag }) => lag)
  const starved = of(({ serverWaited }) => serverWaited)
  const behind = 'perSecond' in pace && of(({ perSecond }) => perSecond) < pace.perSecond * BEHIND
  return [
    wrong > 0 ? `WRONG ${wrong}` : '',
    clientBound ? 'client-bound' : '',
    late > LATE_US ? `VOID: generator ${late.toFixed(0)} late` : '',
    behind ? 'behind' : '',
    starved > STARVED ? `starved ${percent(starved)}` : '',
    shed > 0 ? `shed ${shed}` : '',
  ].filter(Boolean)
}

function memoryRows({ entrants, cells }: Results): readonly Row[] {
  const rows = entrants.map(({ contestant: { name }, host, answerBytes }): Row => {
    const peak = peakBytes(cells, name)
    return [
      name,
      host.readyMs.toFixed(0),
      (host.idleBytes / 1e6).toFixed(0),
      (peak / 1e6).toFixed(0),
      String(answerBytes),
    ]
  })
  return [['who', 'ready ms', 'RSS idle MB', 'RSS loaded MB', 'answer bytes'], ...rows]
}

function signatureLine({ signature }: Results): string {
  const { median, least } = signature
  return `The bare signature check: ${median.toFixed(1)} (least ${least.toFixed(1)}) microseconds of CPU.\n`
}

function clientFloor(cells: readonly Cell[]): string {
  const own = (name: string) =>
    median(found(cells, name, 'distinct', SATURATED), ({ clientCpu }) => clientCpu).toFixed(1)
  return `Ready: from the start of the process to its first right answer.

The client's own floor, CPU per question at 64: ${own('echo unary')} unary, ${own('echo stream')} on a stream,
${own('opa run')} over HTTP/1.1.`
}

function found(cells: readonly Cell[], name: string, pool: Pool, pace: Pace): readonly Run[] {
  return cells.find((cell) => cell.name === name && cell.pool === pool && cell.pace === pace)?.runs ?? []
}

function median(runs: readonly Run[], pick: (run: Run) => number): number {
  return middle(runs.map(pick))
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

function paceName(pace: Pace): string {
  return 'atOnce' in pace ? `${pace.atOnce} at once` : `${pace.perSecond}/s open`
}

const times = (ratio: number): string => `${ratio.toFixed(2)}x`
const percent = (share: number): string => `${(share * 100).toFixed(0)}%`

export type Row = readonly string[]

/** Markdown that is also readable as text: columns padded to their widest cell. */
export function table(rows: readonly Row[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: Row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  const [head = [], ...body] = rows
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line), ''].join('\n')
}
