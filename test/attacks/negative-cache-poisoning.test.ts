import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { AUDIENCE } from '../fixtures/tokens.ts'
import { AT_S, openArena, tokenOf, trusting } from './arena.ts'

// The incident this product began with: a refusal outlived its cause for half an hour, for everybody.

const key = signingKey('ES256', 'poison')
const next = signingKey('ES256', 'poison-next')
const OTHER = 'https://moved.test.example'

function openTimed(plan: object = {}) {
  const time = { ms: AT_S * 1000 }
  const opened = openArena({ ...trusting(key), ...plan, now: () => time.ms })
  return opened.then(({ pipeline }) => ({
    time,
    install: pipeline.install,
    verdict: (token: string) => pipeline.reason(question({ token })),
  }))
}

describe('attack 73: 000-27: a poisoned memory of refusals', () => {
  test('a refusal for a wrong configuration ends with the configuration', async () => {
    const { verdict, install } = await openTimed({ audience: OTHER })
    const token = tokenOf({ key })
    for (let count = 0; count < 3; count++) expect(await verdict(token)).toBe('aud_mismatch')
    await install({ audience: AUDIENCE })
    expect(await verdict(token)).toBe('allow')
  })

  test('a refusal for a key that is not there yet is not remembered', async () => {
    const { verdict, install } = await openTimed()
    const early = tokenOf({ key: next })
    for (let count = 0; count < 3; count++) expect(await verdict(early)).toBe('kid_unknown')
    await install({ issuers: [{ keys: [key, next], algorithms: ['ES256'] }] })
    expect(await verdict(early)).toBe('allow')
  })

  test('a refusal under the old key of a name ends with that key', async () => {
    const { verdict, install } = await openTimed()
    const renamed = { ...next, kid: key.kid, jwk: { ...next.jwk, kid: key.kid } }
    const token = tokenOf({ key: renamed })
    for (let count = 0; count < 2; count++) expect(await verdict(token)).toBe('sig_invalid')
    await install({ issuers: [{ keys: [renamed], algorithms: ['ES256'] }] })
    expect(await verdict(token)).toBe('allow')
  })

  test('a token that was too early is fine when its time has come', async () => {
    const { verdict, time } = await openTimed()
    const early = tokenOf({ key, claims: { nbf: AT_S + 90 } })
    const future = tokenOf({ key, claims: { iat: AT_S + 90, exp: AT_S + 300 } })
    expect([await verdict(early), await verdict(future)]).toEqual(['nbf_future', 'iat_future'])
    time.ms += 31_000
    expect([await verdict(early), await verdict(future)]).toEqual(['allow', 'allow'])
  })

  test('a forged twin of a good token poisons the twin alone, before and after', async () => {
    const { verdict } = await openTimed()
    const good = tokenOf({ key })
    const [header, payload, signature = ''] = good.split('.')
    const twins = [
      [header, payload, `${signature.slice(0, -6)}AAAAAA`].join('.'),
      [header, `${payload}AAAA`, signature].join('.'),
      [`${header}AAAA`, payload, signature].join('.'),
    ]
    for (const twin of twins) expect(await verdict(twin)).not.toBe('allow')
    expect(await verdict(good)).toBe('allow')
    for (const twin of twins) expect(await verdict(twin)).not.toBe('allow')
    expect(await verdict(good)).toBe('allow')
  })

  test('controls: the good token is allowed, and what is refused stays refused', async () => {
    const { verdict, time } = await openTimed()
    const [good, forged] = [tokenOf({ key }), tokenOf({ key: { ...next, kid: key.kid } })]
    for (let count = 0; count < 4; count++) {
      expect([await verdict(good), await verdict(forged)]).toEqual(['allow', 'sig_invalid'])
      time.ms += 20_000
    }
  })
})
