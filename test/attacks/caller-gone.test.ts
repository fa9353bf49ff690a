import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Caller } from '../../sidecar/decide.ts'
import { type Line, trackCaller } from '../../sidecar/serve/caller.ts'
import { MISS_LIMITS } from '../../sidecar/trust/keys.ts'
import { type SigningKey, signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { openArena, tokenOf, trusting } from './arena.ts'
import { createClock, settle } from './clock.ts'

const key = signingKey('ES256')
const fresh = signingKey('ES256', 'fresh')
const good = question({ token: tokenOf({ key }) })
const neverAborted = () => new AbortController().signal

// Leaves at the n-th look at whether it is still there.
function leavingAt(look: number, why: 'cancelled' | 'deadline'): Caller & { readonly looks: () => number } {
  let looks = 0
  return { gone: () => (++looks >= look ? why : undefined), signal: neverAborted, looks: () => looks }
}

describe('a caller that leaves during its check', () => {
  test.each(['cancelled', 'deadline'] as const)(
    'is never told yes: %s at every point where we look',
    async (why) => {
      const arena = await openArena(trusting(key))
      const staying = leavingAt(Number.POSITIVE_INFINITY, why)
      expect(await arena.pipeline.reason(good, staying)).toBe('allow')
      expect(staying.looks()).toBeGreaterThan(0)
      for (let look = 1; look <= staying.looks(); look++) {
        expect(await arena.pipeline.reason(good, leavingAt(look, why))).toBe(why)
      }
    },
  )

  test('is told that it left even when a policy breaks, or when its key is unknown', async () => {
    const policy = resolve(import.meta.dirname, '../policies/hostile/conflict')
    const arena = await openArena({ ...trusting(key), policy })
    const breaking = question({
      token: tokenOf({ key, claims: { scope: 'app:conflict' } }),
      action: 'app:conflict',
    })
    const gone = leavingAt(1, 'cancelled')
    expect(await arena.pipeline.reason(breaking)).toBe('policy_fault')
    expect(await arena.pipeline.reason(breaking, gone)).toBe('cancelled')
    expect(await arena.pipeline.reason(question({ token: tokenOf({ key: fresh }) }), gone)).toBe('cancelled')
  })
})

async function openSlowIssuer() {
  const clock = createClock()
  const { promise: fetched, resolve: land } = Promise.withResolvers<readonly SigningKey[]>()
  const issuer = { keys: [key], algorithms: ['ES256'], refreshable: true }
  const arena = await openArena({
    issuers: [issuer],
    monotonic: clock.now,
    sleep: clock.sleep,
    refresh: async () => (await arena.pipeline.install({ issuers: [{ ...issuer, keys: await fetched }] })).ok,
  })
  const ask = (waitsMs: number, line: Line = { hungUp: () => false, onHangUp: () => () => undefined }) => {
    const caller = trackCaller(waitsMs, line, clock)
    return arena.pipeline.reason(question({ token: tokenOf({ key: fresh }) }), caller).finally(caller.release)
  }
  return { clock, land, ask }
}

function openLine() {
  const acts = new Set<() => void>()
  let hungUp = false
  return {
    hungUp: () => hungUp,
    onHangUp: (act: () => void) => {
      acts.add(act)
      return () => acts.delete(act)
    },
    hangUp: () => {
      hungUp = true
      for (const act of acts) act()
    },
    watchers: () => acts.size,
  }
}

describe('a caller that leaves while a key is being fetched', () => {
  test('at its deadline it is told so, although the key arrives later', async () => {
    const { clock, land, ask } = await openSlowIssuer()
    const answer = ask(200)
    await clock.pass(199)
    expect(await Promise.race([answer, settle().then(() => 'waiting')])).toBe('waiting')
    await clock.pass(1)
    expect(await answer).toBe('deadline')
    land([key, fresh])
    expect(await ask(200)).toBe('allow')
  })

  test('having hung up, it is not told yes when the key arrives', async () => {
    const { clock, land, ask } = await openSlowIssuer()
    const line = openLine()
    const answer = ask(900, line)
    await clock.pass(10)
    line.hangUp()
    land([key, fresh])
    expect(await answer).toBe('cancelled')
  })

  test('having hung up, it does not keep its place until the key arrives', async () => {
    const { clock, ask } = await openSlowIssuer()
    const line = openLine()
    const answer = ask(900, line)
    await clock.pass(10)
    expect(line.watchers()).toBe(1)
    line.hangUp()
    expect(await answer).toBe('cancelled')
    expect(line.watchers()).toBe(0)
  })

  test('having stayed, it is told yes', async () => {
    const { clock, land, ask } = await openSlowIssuer()
    const answer = ask(900)
    await clock.pass(10)
    land([key, fresh])
    expect(await answer).toBe('allow')
  })

  test('one that leaves does not take the fetch from another that stays', async () => {
    const { clock, land, ask } = await openSlowIssuer()
    const [short, long] = [ask(100), ask(900)]
    await clock.pass(100)
    expect(await short).toBe('deadline')
    land([key, fresh])
    expect(await long).toBe('allow')
  })

  test('a wait without a deadline ends by itself', async () => {
    const { clock, ask } = await openSlowIssuer()
    const answer = ask(60_000)
    await clock.pass(MISS_LIMITS.waitMs)
    expect(await answer).toBe('jwks_unavailable')
  })
})
