import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { AT_S, openArena, tokenOf } from './arena.ts'

// A token that was let through is asked for again when it no longer may be. (Revocations that are pushed: revoked-*.test.ts, which
// ask about the same token before and after, with the memory on.)

const key = signingKey('ES256', 'outlives')
const spare = signingKey('ES256', 'outlives-spare')
const SKEW_MS = 60_000

async function openKnown(claims: object = {}) {
  const time = { ms: AT_S * 1000 }
  const hits = { count: 0 }
  const plan = { issuers: [{ keys: [key, spare], algorithms: ['ES256'] }], now: () => time.ms }
  const lookedUp = (result: string) => {
    if (result === 'hit') hits.count++
  }
  const { pipeline } = await openArena({ ...plan, lookedUp })
  const token = tokenOf({ key, claims: { ...claims } })
  const ask = () => pipeline.reason(question({ token }))
  for (let count = 0; count < 3; count++) expect(await ask()).toBe('allow')
  // It is known by now, or nothing below says anything.
  expect(hits.count).toBe(2)
  return { time, ask, install: pipeline.install }
}

describe('attack 76: a remembered verdict after expiry, rotation or revocation', () => {
  test('at the very moment it expires', async () => {
    const { time, ask } = await openKnown({ exp: AT_S + 100 })
    time.ms = (AT_S + 100) * 1000 + SKEW_MS - 1
    expect(await ask()).toBe('allow')
    time.ms++
    expect(await ask()).toBe('expired')
  })

  test.each<readonly [what: string, change: object, verdict: string]>([
    ['its key is gone', { keys: [spare] }, 'kid_unknown'],
    ['its key is revoked', { keys: [key, spare], revokedKids: [key.kid] }, 'kid_revoked'],
    [
      'another key has its name',
      { keys: [{ ...spare, kid: key.kid, jwk: { ...spare.jwk, kid: key.kid } }] },
      'sig_invalid',
    ],
    ['its keys are too old', { keys: [key, spare], notAfterMs: AT_S * 1000 - 1 }, 'jwks_unavailable'],
    [
      'two keys have its name',
      { keys: [key, { ...spare, kid: key.kid, jwk: { ...spare.jwk, kid: key.kid } }] },
      'kid_ambiguous',
    ],
    ['there is no key', { document: '{"keys":[]}' }, 'jwks_unavailable'],
  ])('when %s', async (_what, change, verdict) => {
    const { ask, install } = await openKnown()
    await install({ issuers: [{ algorithms: ['ES256'], ...change }] })
    for (let count = 0; count < 2; count++) expect(await ask()).toBe(verdict)
    await install({ issuers: [{ keys: [key, spare], algorithms: ['ES256'] }] })
    expect(await ask()).toBe('allow')
  })

  test('a clock that is set back makes nothing young again', async () => {
    const { time, ask } = await openKnown({ exp: AT_S + 100 })
    time.ms = (AT_S + 200) * 1000
    expect(await ask()).toBe('expired')
    time.ms = AT_S * 1000
    expect(await ask()).toBe('clock_unsafe')
  })
})
