import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'

// Questions at a given rate over streams, as many as fit, each with a token of its own; and what became of them.

export interface Flood {
  readonly forMs: number
  readonly perSecond: number
  // The token of the question with this number; called when it is its turn.
  readonly token: (serial: number) => string
}

export interface Flooded {
  readonly verdicts: ReadonlyMap<string, number>
  // Questions that were asked and answered.
  readonly asked: number
  readonly perSecond: number
  // Milliseconds from question to answer, ascending.
  readonly latencies: readonly number[]
}

const STREAMS = 24
const WINDOW = 60
const TICK_MS = 5

export async function flood(target: string, { forMs, perSecond, token }: Flood): Promise<Flooded> {
  using raw = openRaw(target)
  const streams = Array.from({ length: STREAMS }, () => ({
    open: raw.stream({ deadlineMs: forMs + 60_000 }),
    waiting: new Map<number, number>(),
  }))
  const verdicts = new Map<string, number>()
  const latencies: number[] = []
  const readers = streams.map(async ({ open, waiting }) => {
    for (;;) {
      const answer = await open.next(forMs + 60_000)
      if (!answer) return
      const verdict = answer.check ? verdictOf(answer.check) : 'nothing'
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1)
      latencies.push(performance.now() - (waiting.get(answer.id) ?? 0))
      waiting.delete(answer.id)
    }
  })
  const startedAt = performance.now()
  let serial = 0
  while (performance.now() - startedAt < forMs) {
    const due = ((performance.now() - startedAt) / 1000) * perSecond
    for (const { open, waiting } of streams) {
      while (serial < due && waiting.size < WINDOW) {
        const id = ++serial
        waiting.set(id, performance.now())
        open.send({ id, check: question({ token: token(id) }) })
        if (serial % streams.length === 0) break
      }
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS))
  }
  const elapsed = performance.now() - startedAt
  for (const { open } of streams) open.end()
  await Promise.all(readers)
  return {
    verdicts,
    asked: latencies.length,
    perSecond: (latencies.length / elapsed) * 1000,
    latencies: latencies.toSorted((a, b) => a - b),
  }
}
