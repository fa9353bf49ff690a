import { setTimeout } from 'node:timers/promises'
import { until } from '../fixtures/process.ts'
import type { Ask } from './http.ts'
import { type Cast, faultsOf, median, type Outcome } from './scene.ts'
import { refund } from './scene-rules.ts'
import type { PolicyName, Stage } from './stage.ts'

// Continuous requests while something changes, bounded in number, concurrency and time. Each answer must
// be the right one for the policy revision that it names in the application's log.

export interface Load {
  // Returns after so many more requests have been answered; rejects when that takes too long.
  settled(requests: number, withinMs?: number): Promise<void>
  // Returns once an answer has named this revision.
  sees(revision: string): Promise<void>
  judge(): Promise<Outcome>
}

interface Probe {
  readonly ask: Omit<Ask, 'id'>
  readonly right: Readonly<Record<'first' | 'edited', number>>
}

interface Answered {
  readonly id: string
  readonly worker: number
  readonly probe: Probe
  readonly status: number
}

const WORKERS = 8
const MOST_REQUESTS = 40_000
const LONGEST_MS = 20_000
// At most 2,000 requests a second, so that a fast machine does not use up the count before the swap.
const PAUSE_MS = 4

// `name` keeps the request ids of two loads apart.
export function runLoad(name: string, stage: Stage, cast: Cast): Load {
  const answers: Answered[] = []
  const end = AbortSignal.timeout(LONGEST_MS)
  let stopped = false
  let sent = 0
  const probes = probesOf(cast)
  const work = async (worker: number) => {
    while (!stopped && !end.aborted && sent < MOST_REQUESTS) {
      const id = `${name}-${++sent}`
      const probe = probes[sent % probes.length]
      if (!probe) return
      const status = await stage.app.caller.ask({ ...probe.ask, id }).then(
        (reply) => reply.status,
        () => 0,
      )
      answers.push({ id, worker, probe, status })
      await setTimeout(PAUSE_MS)
    }
  }
  const workers = Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)))
  const revisionOf = ({ id }: Answered) => stage.app.log.checked(id)?.revision
  return {
    settled: async (requests, withinMs = LONGEST_MS) => {
      const enough = answers.length + requests
      await until('answers under load', () => (answers.length >= enough ? true : undefined), { withinMs })
    },
    sees: async (revision) => {
      const seen = () =>
        answers.slice(-WORKERS * 4).some((one) => revisionOf(one) === revision) ? true : undefined
      await until(`answer by ${revision}`, seen, { withinMs: LONGEST_MS, everyMs: 5 })
    },
    judge: async () => {
      stopped = true
      await workers
      const last = answers.at(-1)
      if (last) await until('the end of the log', () => stage.app.log.checked(last.id))
      return verdict(stage, answers)
    },
  }
}

function probesOf({ alice, bob }: Cast): readonly Probe[] {
  return [
    { ask: { path: '/invoices/a-2', token: bob }, right: { first: 200, edited: 404 } },
    { ask: refund(alice, 300), right: { first: 200, edited: 403 } },
    { ask: refund(alice, 600), right: { first: 403, edited: 403 } },
    { ask: { path: '/invoices/a-1', token: alice }, right: { first: 200, edited: 200 } },
  ]
}

function verdict(stage: Stage, answers: readonly Answered[]): Outcome {
  const names = new Map<string, PolicyName>([
    [stage.policy.revision('first'), 'first'],
    [stage.policy.revision('edited'), 'edited'],
  ])
  const facts = answers.map((one) => {
    const checked = stage.app.log.checked(one.id)
    const policy = names.get(checked?.revision ?? '')
    const right = policy === 'first' || policy === 'edited' ? one.probe.right[policy] : undefined
    return { ...one, policy, right, micros: checked?.micros ?? 0 }
  })
  const failed = facts.filter(({ status }) => status === 0 || status >= 500).length
  const mixed = facts.filter(({ status, right }) => status !== 0 && status < 500 && status !== right).length
  const by = (policy: PolicyName) => facts.filter((one) => one.policy === policy).length
  const back = Array.from({ length: WORKERS }, (_, worker) =>
    goesBack(facts.filter((one) => one.worker === worker)),
  )
  return {
    answer: `${failed} / ${mixed}`,
    reason: `${by('first')} answers by the old, ${by('edited')} by the new`,
    seen: median(facts.map(({ micros }) => micros)),
    faults: faultsOf([
      [by('first') === 0 || by('edited') === 0, 'one of the two revisions was never seen'],
      [back.includes(true), 'a caller saw the old policy after the new one'],
    ]),
  }
}

function goesBack(answers: readonly { readonly policy: PolicyName | undefined }[]): boolean {
  const since = answers.findIndex(({ policy }) => policy === 'edited')
  return since >= 0 && answers.slice(since).some(({ policy }) => policy === 'first')
}
