// What the audience sees: one line a row, aligned, in colour on a terminal only.

export interface Line {
  readonly request: string
  readonly expected: string
  readonly answer: string
  readonly reason: string
  // Microseconds: the sidecar's own, and the whole check as the application saw it.
  readonly own?: number
  readonly seen?: number
  // Why the row is not what it should be.
  readonly faults: readonly string[]
}

export interface Table {
  scene(title: string): void
  line(line: Line): void
  note(text: string): void
  verdict(failed: readonly string[], summary: string): void
}

const WIDTHS = { request: 62, expected: 9, answer: 9, reason: 42, micros: 6 } as const
const COLOURS = { dim: 2, bold: 1, red: 31, green: 32 } as const

export function createTable(write: (text: string) => void, colour: boolean): Table {
  const paint = (how: keyof typeof COLOURS, text: string) =>
    colour ? `\x1b[${COLOURS[how]}m${text}\x1b[0m` : text
  const columns = (cells: readonly [string, string, string, string, string, string]) =>
    [
      sized(cells[0], WIDTHS.request),
      sized(cells[1], WIDTHS.expected),
      sized(cells[2], WIDTHS.answer),
      sized(cells[3], WIDTHS.reason),
      cells[4].padStart(WIDTHS.micros),
      cells[5].padStart(WIDTHS.micros),
    ].join(' ')
  const heading = columns(['request', 'expected', 'answer', 'reason', 'µs', 'app µs'])
  return {
    scene: (title) => write(`\n${paint('bold', title)}\n   ${paint('dim', heading)}\n`),
    line: ({ request, expected, answer, reason, own, seen, faults }) => {
      const text = columns([request, expected, answer, reason, rounded(own), rounded(seen)])
      write(`${faults.length === 0 ? paint('green', 'ok') : paint('red', '!!')} ${text}\n`)
      if (reason.length > WIDTHS.reason) write(`   ${paint('dim', reason)}\n`)
      for (const fault of faults) write(`   ${paint('red', fault)}\n`)
    },
    verdict: (failed, summary) => {
      write(`\n${paint(failed.length === 0 ? 'green' : 'red', summary)}\n`)
      for (const request of failed) write(`   not as expected: ${request}\n`)
    },
    note: (text) => write(`   ${paint('dim', text)}\n`),
  }
}

function sized(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width)
}

function rounded(micros: number | undefined): string {
  return micros === undefined ? '' : String(Math.round(micros))
}
