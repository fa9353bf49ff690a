import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CheckRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { until } from '../fixtures/process.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { type Asker, openAsker, WAYS, type Way } from './asker.ts'
import { BUNDLES, type Ground, openGround, revisionOf } from './ground.ts'
import { counterAt } from './scrape.ts'

// The policy changes under load. No call fails, and each answer is the right one for the revision that it names.

const SWAPS = 20
const WORKERS = 6

interface Probe {
  readonly ask: CheckRequest
  readonly right: Readonly<Record<Name, string>>
}
type Name = 'invoices' | 'edited'

const NAMES = new Map<string, Name>([
  [revisionOf(BUNDLES.invoices), 'invoices'],
  [revisionOf(BUNDLES.edited), 'edited'],
])

function probes(): readonly Probe[] {
  const alice = forge()
  const bob = forge({ claims: { sub: 'bob', roles: [] } })
  const refund = (amount: number) =>
    question({
      token: alice,
      action: 'invoice:refund',
      stored: { attributes: { amount: 900 } },
      request: { amount },
    })
  const shared = question({ token: bob, stored: { attributes: { visibility: 'tenant' } } })
  return [
    { ask: shared, right: { invoices: 'allow', edited: 'not_owner' } },
    { ask: refund(300), right: { invoices: 'allow', edited: 'limit_exceeded' } },
    { ask: refund(600), right: { invoices: 'limit_exceeded', edited: 'limit_exceeded' } },
    { ask: question({ token: alice }), right: { invoices: 'allow', edited: 'allow' } },
  ]
}

interface Answered {
  readonly worker: number
  readonly policy: Name | undefined
  readonly verdict: string
  readonly right: boolean
  readonly generation: number
}

interface Load extends Disposable {
  readonly answers: readonly Answered[]
  readonly failures: readonly string[]
  sees(policy: Name): Promise<void>
  stop(): Promise<void>
}

function runLoad(sidecar: Sidecar, ways: readonly Way[]): Load {
  const answers: Answered[] = []
  const failures: string[] = []
  const askers: Asker[] = []
  let stopped = false
  const work = async (asker: Asker, worker: number) => {
    const asked = probes()
    for (let i = worker; !stopped; i++) {
      const probe = asked[i % asked.length]
      if (!probe) return
      try {
        const response = await asker.ask(probe.ask)
        const policy = NAMES.get(response.policyRevision)
        const verdict = verdictOf(response)
        const right = policy !== undefined && verdict === probe.right[policy]
        answers.push({ worker, policy, verdict, right, generation: response.trustGeneration })
      } catch (cause) {
        failures.push(String(cause))
        return
      }
    }
  }
  const workers = Array.from({ length: WORKERS }, (_, worker) => {
    const asker = openAsker(sidecar.unix, ways[worker % ways.length])
    askers.push(asker)
    return work(asker, worker)
  })
  return {
    answers,
    failures,
    sees: async (policy) => {
      const from = answers.length
      const seen = () =>
        answers.slice(from).some((one) => one.policy === policy) || failures.length > 0 || undefined
      await until(`an answer by ${policy}`, seen, { withinMs: 20_000 })
    },
    stop: async () => {
      stopped = true
      await Promise.all(workers)
    },
    [Symbol.dispose]: () => {
      stopped = true
      for (const asker of askers) asker[Symbol.dispose]()
    },
  }
}

let ground: Ground
beforeEach(() => {
  ground = openGround()
})
afterEach(() => ground[Symbol.dispose]())

function judge(load: Load): void {
  expect(load.failures).toEqual([])
  expect(load.answers.filter(({ right }) => !right).slice(0, 5)).toEqual([])
  for (let worker = 0; worker < WORKERS; worker++) {
    const generations = load.answers
      .filter((one) => one.worker === worker)
      .map(({ generation }) => generation)
    expect(generations).toEqual(generations.toSorted((a, b) => a - b))
  }
}

describe('the bundle is swapped', () => {
  test.each<readonly [what: string, ways: readonly Way[]]>([
    ['unary', ['unary']],
    ['stream', ['stream']],
    ['both', WAYS],
  ])(
    '20 times under load ($what): nothing fails, no answer mixes two policies, no generation goes back',
    async (_what, ways) => {
      await using sidecar = await startSidecar({ config: ground.config() })
      using load = runLoad(sidecar, ways)
      await load.sees('invoices')
      for (let swap = 1; swap <= SWAPS; swap++) {
        const next = swap % 2 === 1 ? 'edited' : 'invoices'
        ground.policy.use(BUNDLES[next])
        sidecar.reload()
        await load.sees(next)
      }
      await load.stop()
      judge(load)
      expect(await counterAt(sidecar, 'portcullis_bundle_activations_total', 'result="refused"')).toBe(0)
      expect(sidecar.noise).toEqual([])
    },
  )

  test('without a signal: it sees the new files by itself', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    using load = runLoad(sidecar, ['stream'])
    await load.sees('invoices')
    ground.policy.use(BUNDLES.edited)
    await load.sees('edited')
    await load.stop()
    judge(load)
  })

  test('while a broken one comes in between each time: refused, and nothing fails', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    const empty = ground.policy.copy(BUNDLES.hostile, () => undefined)
    using load = runLoad(sidecar, ['unary', 'stream'])
    let refused = 0
    for (let swap = 1; swap <= 6; swap++) {
      ground.policy.use(empty)
      sidecar.reload()
      refused++
      const counted = async () =>
        (await counterAt(sidecar, 'portcullis_bundle_activations_total', 'result="refused"')) >= refused ||
        undefined
      await until('the refusal', counted, { withinMs: 20_000 })
      const next = swap % 2 === 1 ? 'edited' : 'invoices'
      ground.policy.use(BUNDLES[next])
      sidecar.reload()
      await load.sees(next)
    }
    await load.stop()
    judge(load)
  })
})
