import { describe, expect, test } from 'vitest'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { MISS_LIMITS } from '../../sidecar/trust/keys.ts'
import { jwksOf, type SigningKey, signingKey } from '../fixtures/keys.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import { constant } from '../fixtures/tokens.ts'
import { openArena, tokenOf } from './arena.ts'
import { createClock, settle } from './clock.ts'

const old = signingKey('ES256', 'old')
const fresh = signingKey('ES256', 'fresh')
// Read beforehand: a disk does not know of the test's clock.
const policy = await readBundle(POLICY.invoices)
const junk = (serial: number) =>
  tokenOf({ key: old, header: { kid: `junk-${serial}` }, sign: constant(Buffer.alloc(64)) })

// An issuer whose set can be fetched; what a fetch brings is in the test's hands.
async function openIssuer(
  fetch: (install: (keys: readonly SigningKey[]) => Promise<boolean>) => Promise<boolean>,
) {
  const clock = createClock()
  let fetches = 0
  const issuer = { keys: [old], algorithms: ['ES256'], refreshable: true }
  const arena = await openArena({
    issuers: [issuer],
    policy,
    monotonic: clock.now,
    sleep: clock.sleep,
    refresh: async () => {
      fetches++
      return fetch(async (keys) => {
        const installed = await arena.pipeline.install({
          issuers: [{ ...issuer, document: JSON.stringify(jwksOf(keys)) }],
        })
        return installed.ok
      })
    },
  })
  return { clock, verdict: arena.verdict, fetches: () => fetches }
}

describe('attack 77: 001-18, 001-20, I12: unknown key names that would make us hammer the issuer', () => {
  test('five thousand of them at once cause few fetches, and everybody is answered', async () => {
    const { clock, verdict, fetches } = await openIssuer(async (install) => install([old]))
    const verdicts = Promise.all(Array.from({ length: 5_000 }, (_, serial) => verdict(junk(serial))))
    await clock.pass(MISS_LIMITS.waitMs)
    expect(new Set(await verdicts)).toEqual(new Set(['kid_unknown', 'jwks_unavailable']))
    expect(fetches()).toBeLessThanOrEqual(1 + MISS_LIMITS.waitMs / MISS_LIMITS.spacingMs)
  })

  test('ten each time for a long while cause at most one fetch in half a second', async () => {
    const { clock, verdict, fetches } = await openIssuer(async () => true)
    const times = 240
    let asked = 0
    for (let second = 0; second < times; second++) {
      const verdicts = Array.from({ length: 10 }, () => verdict(junk(asked++)))
      await clock.pass(MISS_LIMITS.waitMs)
      for (const one of await Promise.all(verdicts))
        expect(['kid_unknown', 'jwks_unavailable']).toContain(one)
    }
    expect(fetches()).toBeGreaterThan(1)
    expect(fetches()).toBeLessThanOrEqual(1 + (times * MISS_LIMITS.waitMs) / MISS_LIMITS.spacingMs)
  })

  test('an issuer that is down is asked ever more seldom', async () => {
    const { clock, verdict, fetches } = await openIssuer(async () => false)
    const minutes = 30
    for (let asked = 0; asked < minutes * 60; asked++) {
      const answer = verdict(junk(asked))
      await clock.pass(MISS_LIMITS.waitMs)
      expect(await answer).toBe('jwks_unavailable')
    }
    expect(fetches()).toBeLessThanOrEqual(6 + (minutes * 60 * MISS_LIMITS.waitMs) / MISS_LIMITS.lastBackoffMs)
  })

  test('the same unknown name again asks nobody, until it may have become known', async () => {
    const { clock, verdict, fetches } = await openIssuer(async () => true)
    for (let asked = 0; asked < 50; asked++) expect(await verdict(junk(1))).toBe('kid_unknown')
    expect(fetches()).toBe(1)
    await clock.pass(MISS_LIMITS.unknownKidMs)
    expect(await verdict(junk(1))).toBe('kid_unknown')
    expect(fetches()).toBe(2)
  })

  test('while junk goes on, known keys are served and a rotated key comes through', async () => {
    let rotated = false
    const { clock, verdict } = await openIssuer(async (install) => install(rotated ? [old, fresh] : [old]))
    let asked = 0
    const flood = () => Promise.all(Array.from({ length: 300 }, () => verdict(junk(asked++))))
    const noise = [flood()]
    await clock.pass(0)
    for (let second = 0; second < 5; second++) {
      noise.push(flood())
      expect(await verdict({ key: old })).toBe('allow')
      await clock.pass(1_000)
    }
    rotated = true
    const answers: string[] = []
    for (let tries = 0; tries < 60 && !answers.includes('allow'); tries++) {
      noise.push(flood())
      const answer = verdict({ key: fresh })
      await clock.pass(MISS_LIMITS.waitMs)
      answers.push(await answer)
    }
    await Promise.all(noise)
    expect(answers.at(-1)).toBe('allow')
    expect(answers).toEqual(['allow'])
  })

  test('a hundred callers with the new key share one fetch', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { verdict, fetches } = await openIssuer(async (install) =>
      promise.then(() => install([old, fresh])),
    )
    const verdicts = Promise.all(Array.from({ length: 100 }, () => verdict({ key: fresh })))
    await settle()
    resolve()
    expect(new Set(await verdicts)).toEqual(new Set(['allow']))
    expect(fetches()).toBe(1)
  })

  test('a forged token under the new name gains nothing from the fetch', async () => {
    const { verdict } = await openIssuer(async (install) => install([old, fresh]))
    expect(await verdict({ key: old, header: { kid: 'fresh' } })).toBe('sig_invalid')
  })
})
