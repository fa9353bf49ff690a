import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  createGuard,
  type Guard,
  HOUR_MS,
  NOBODY,
  newToken,
  register,
  rotate,
} from '../../fixtures/families.ts'

// The guard against a model of twenty lines, over random histories.

interface Model {
  ended: boolean
  // Tokens that were ever handed out, oldest first; all but the last are used.
  readonly chain: { readonly token: Buffer; usedAt: number; graceMs: number }[]
}

interface Presenting {
  readonly kind: 'present'
  readonly back: number
  readonly graceMs: number
}

type Step =
  | Presenting
  | { readonly kind: 'guess' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'revoke' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('present' as const),
      back: fc.constantFrom(0, 0, 0, 1, 1, 2, 5),
      graceMs: fc.constantFrom(0, 0, 1_000, 30_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('guess' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 999, 1_000, 1_001, 30_001, HOUR_MS),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke' as const) }) },
)

function expected(model: Model, at: number, index: number): 'rotated' | 'retry' | 'replay' | 'revoked' {
  const entry = model.chain[index]
  const last = model.chain.length - 1
  if (index === last) return model.ended ? 'revoked' : 'rotated'
  if (model.ended) return 'revoked'
  const graced = entry && index === last - 1 && entry.graceMs > 0 && at <= entry.usedAt + entry.graceMs
  return graced ? 'retry' : 'replay'
}

async function follow(steps: readonly Step[]): Promise<void> {
  const guard = createGuard()
  const first = newToken()
  const model: Model = { ended: false, chain: [{ token: first, usedAt: 0, graceMs: 0 }] }
  const end = guard.clock.at + 23 * HOUR_MS
  let replays = 0
  await register(guard, 'grant', first)
  for (const one of steps) {
    if (one.kind === 'wait') guard.clock.at = Math.min(guard.clock.at + one.ms, end)
    if (one.kind === 'guess')
      expect(['unknown', 'revoked']).toContain(await rotate(guard, 'grant', newToken()))
    if (one.kind === 'revoke') {
      await guard.families.revoke('grant', undefined, NOBODY)
      model.ended = true
    }
    if (one.kind === 'present' && (await presentOne(guard, model, one))) replays++
  }
  expect(guard.revoked).toHaveLength(replays)
}

// Presents one of the chain; whether that was a replay.
async function presentOne(guard: Guard, model: Model, { back, graceMs }: Presenting): Promise<boolean> {
  const index = Math.max(0, model.chain.length - 1 - back)
  const entry = model.chain[index]
  if (!entry) return false
  const next = newToken()
  const want = expected(model, guard.clock.at, index)
  const got = await rotate(guard, 'grant', entry.token, { next, graceMs })
  // An ended family says of a used token that it was replayed if that was how it ended.
  expect(want === 'revoked' ? ['revoked', 'replay'] : [want]).toContain(got)
  if (got === 'rotated') {
    Object.assign(entry, { usedAt: guard.clock.at, graceMs })
    model.chain.push({ token: next, usedAt: 0, graceMs: 0 })
  }
  if (want === 'replay') model.ended = true
  return want === 'replay'
}

test('002-03: over random histories one token is good at most, and whatever is used again ends the family', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), follow), { numRuns: 300 })
})
