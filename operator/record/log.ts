import { write } from 'node:fs'
import type { Now, Report } from '../ports.ts'

export interface ReportLimits {
  /** Of one line, characters; longer texts are cut. */
  readonly factLength: number
  /** Lines waiting to be written beyond which new ones are dropped and counted. */
  readonly queue: number
}

const LIMITS: ReportLimits = { factLength: 1024, queue: 4096 }
const STDERR = 2

/** Reports as JSON lines on standard error. A reader that stands still costs lines, never time. */
export function createReport(
  now: Now,
  format: (at: number) => string,
  limits: ReportLimits = LIMITS,
): Report {
  let waiting: string[] = []
  let dropped = 0
  let writing = false

  const pump = (): void => {
    const batch = waiting.join('')
    if (batch === '') {
      writing = false
      return
    }
    writing = true
    waiting = []
    write(STDERR, batch, () => pump())
  }
  return (event, facts = {}) => {
    if (waiting.length >= limits.queue) {
      dropped++
      return
    }
    const bounded = Object.entries(facts).map(([name, fact]) => [name, cut(fact, limits.factLength)])
    const lost = dropped > 0 ? { dropped } : {}
    dropped = 0
    waiting.push(
      `${JSON.stringify({ time: format(now()), event, ...Object.fromEntries(bounded), ...lost })}\n`,
    )
    if (!writing) pump()
  }
}

function cut<T>(fact: T, length: number): T | string {
  return typeof fact === 'string' && fact.length > length ? `${fact.slice(0, length)}…` : fact
}
