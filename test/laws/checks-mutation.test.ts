import { describe, expect, test } from 'vitest'
import type { Reason } from '../../sidecar/decision.ts'
import { CHECKS_AFTER_KEY, CHECKS_BEFORE_KEY } from '../../sidecar/token/checks.ts'
import { CHECK_NAMES } from '../../sidecar/token/evidence.ts'
import { type ChecksTable, createProve, createVerify, forgetful } from '../../sidecar/token/verify.ts'
import { AT_S, openArena, tokenOf, type Weapon } from '../attacks/arena.ts'
import { openSteps, requestOf } from '../attacks/steps.ts'
import { relabelled, signingKey } from '../fixtures/keys.ts'
import { type Asked, question } from '../fixtures/question.ts'

const rsa = signingKey('RS256')
const attacker = relabelled(signingKey('RS256', 'attacker'), { kid: rsa.kid })
// An issuer that was given time to type its tokens, so that shape has a duty, too.
const TRUST = {
  issuers: [{ keys: [rsa], legacyTypUntilMs: AT_S * 1000 + 60_000 }],
}
const SHARED: Asked = { stored: { owner: 'bob', attributes: { visibility: 'tenant' } } }

type Duty = readonly [weapon: Weapon, reason: Reason, without: Reason | 'allow' | 'unsayable']

/** What each check is there for: attacks that it alone, and none beside it, answers with this reason. */
const DUTIES: Readonly<Record<string, readonly Duty[]>> = {
  typ: [
    [{ header: { typ: 'logout+jwt' } }, 'typ_mismatch', 'allow'],
    [{ header: { typ: 'dpop+jwt' } }, 'typ_mismatch', 'allow'],
    [{ header: { typ: 'oauth-authz-req+jwt' } }, 'typ_mismatch', 'allow'],
  ],
  alg: [
    [{ key: relabelled(rsa, { alg: 'PS256' }) }, 'alg_not_allowed', 'alg_key_mismatch'],
    [{ key: relabelled(rsa, { alg: 'RS512' }) }, 'alg_not_allowed', 'alg_key_mismatch'],
    [{ header: { alg: 'ES256' } }, 'alg_not_allowed', 'alg_key_mismatch'],
  ],
  kid: [[{ header: { kid: undefined } }, 'kid_missing', 'kid_unknown']],
  signature: [
    [{ key: attacker }, 'sig_invalid', 'allow'],
    [{ tamper: ([header, payload]) => [header, payload, ''] }, 'sig_invalid', 'allow'],
  ],
  aud: [
    [{ claims: { aud: 'https://other.example' } }, 'aud_mismatch', 'allow'],
    [{ claims: { aud: undefined } }, 'aud_missing', 'allow'],
    [{ claims: { aud: {} } }, 'aud_invalid', 'allow'],
  ],
  time: [
    [{ claims: { iat: AT_S - 400, exp: AT_S - 100 } }, 'expired', 'allow'],
    [{ claims: { exp: undefined } }, 'exp_missing', 'unsayable'],
    [{ claims: { exp: String(AT_S + 300) } }, 'exp_invalid', 'allow'],
    [{ claims: { iat: AT_S + 100 } }, 'iat_future', 'allow'],
    [{ claims: { iat: undefined } }, 'iat_missing', 'allow'],
    [{ claims: { nbf: AT_S + 100 } }, 'nbf_future', 'allow'],
    [{ claims: { exp: AT_S + 100_000 } }, 'lifetime_too_long', 'allow'],
  ],
  identity: [
    [{ claims: { sub: undefined } }, 'claim_missing', 'allow'],
    [{ claims: { sub: '' } }, 'claim_invalid', 'allow'],
    [{ claims: { client_id: undefined } }, 'claim_missing', 'allow'],
    [{ claims: { jti: undefined } }, 'claim_missing', 'allow'],
    [{ claims: { roles: 'admin' } }, 'claim_invalid', 'internal'],
  ],
  shape: [
    [{ header: { typ: 'JWT' }, claims: { nonce: 'n' } }, 'typ_mismatch', 'allow'],
    [{ header: { typ: undefined }, claims: { events: {} } }, 'typ_mismatch', 'allow'],
    [{ header: { typ: 'JWT' }, claims: { htm: 'GET' } }, 'typ_mismatch', 'allow'],
  ],
}

const all = [...CHECKS_BEFORE_KEY, ...CHECKS_AFTER_KEY].map(({ name }) => name)
/** The check is made, and sees nothing. */
const without = (blind: string): ChecksTable => {
  const blinded = <C extends { readonly name: string }>(check: C): C =>
    check.name === blind ? { ...check, refusal: () => undefined } : check
  return { beforeKey: CHECKS_BEFORE_KEY.map(blinded), afterKey: CHECKS_AFTER_KEY.map(blinded) }
}
/** The check is not made. */
const lacking = (gone: string): ChecksTable => ({
  beforeKey: CHECKS_BEFORE_KEY.filter(({ name }) => name !== gone),
  afterKey: CHECKS_AFTER_KEY.filter(({ name }) => name !== gone),
})

describe('each of the nine checks has a duty of its own', () => {
  test('the duties cover the table', () => {
    expect([...Object.keys(DUTIES), 'iss'].toSorted()).toEqual(all.toSorted())
    expect(all).toEqual([...CHECK_NAMES])
  })

  test.each(Object.entries(DUTIES))('the full table does the duty of %s', async (_, duties) => {
    const arena = await openArena(TRUST)
    for (const [weapon, reason] of duties) expect(await arena.verdict(weapon, SHARED)).toBe(reason)
    expect(await arena.verdict({}, SHARED)).toBe('allow')
  })

  test.each(Object.entries(DUTIES))(
    'without %s, each of its attacks comes out wrong',
    async (name, duties) => {
      const arena = await openArena({ ...TRUST, checks: without(name) })
      for (const [weapon, , instead] of duties) expect(await arena.verdict(weapon, SHARED)).toBe(instead)
      expect(await arena.verdict({}, SHARED)).toBe('allow')
    },
  )

  test.each(Object.keys(DUTIES))('without %s, every other duty is still done', async (name) => {
    const arena = await openArena({ ...TRUST, checks: without(name) })
    const others = Object.entries(DUTIES).filter(([other]) => other !== name)
    for (const [weapon, reason] of others.flatMap(([, duties]) => duties)) {
      expect(await arena.verdict(weapon, SHARED)).toBe(reason)
    }
  })

  test.each([...CHECK_NAMES])(
    '000-28: when %s is not made at all, nothing is verified any more',
    async (name) => {
      const arena = await openArena({ ...TRUST, checks: lacking(name) })
      expect(await arena.verdict({}, SHARED)).toBe('internal')
    },
  )

  // The choice of the issuer is exact already; the check makes sure that it is the one the token names.
  test.each([
    ['with', without('nothing'), 'iss_unknown'],
    ['without', without('iss'), 'verified'],
  ])('%s iss, a set of issuers that answers to a false name is seen through', async (_, checks, want) => {
    const { trust, steps } = await openSteps(TRUST)
    const [issuer] = trust.issuers.values()
    const alias = 'https://alias.example'
    const lying = { ...trust, issuers: new Map(issuer ? [[alias, issuer] as const] : []) }
    const findKey = () => issuer?.keys.byKid.get(rsa.kid)?.[0] ?? Promise.reject(new Error('no key'))
    const presented = steps.present(requestOf(question({ token: tokenOf({ claims: { iss: alias } }) })))
    if ('kind' in presented) throw new Error(presented.reason)
    const verify = createVerify(forgetful(createProve(findKey, checks)))
    const verified = await verify(presented, lying, AT_S * 1000, () => new AbortController().signal)
    expect('kind' in verified ? verified.reason : 'verified').toBe(want)
  })
})
