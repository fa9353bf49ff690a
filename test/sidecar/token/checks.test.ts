// The nine checks, one table a rule, asked of the whole road with tokens made at a known second.
import { beforeAll, describe, expect, test } from 'vitest'
import { CHECKS_AFTER_KEY, CHECKS_BEFORE_KEY } from '../../../sidecar/token/checks.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { AUDIENCE, ISSUER, type Members } from '../../fixtures/tokens.ts'
import { type Desk, KEY, NOW_S, openDesk } from './desk.ts'

let desk: Desk

beforeAll(async () => {
  desk = await openDesk()
})

const claims = (members: Members) => desk.verdict({ claims: members })

test('001-02 001-21: the table has nine rows, each with a name of its own and the rule that it follows', () => {
  const rows = [...CHECKS_BEFORE_KEY, ...CHECKS_AFTER_KEY].map(({ name, source }) => ({ name, source }))
  expect(rows.map(({ name }) => name)).toEqual([
    'typ',
    'alg',
    'iss',
    'kid',
    'signature',
    'aud',
    'time',
    'identity',
    'shape',
  ])
  for (const { source } of rows) expect(source).toMatch(/RFC \d{4} section/)
})

test('the good token is allowed', async () => {
  expect(await desk.verdict()).toBe('allow')
})

describe.each([0, 1, 60, 300])('with a skew of %i s', (skewS) => {
  let skewed: Desk
  beforeAll(async () => {
    skewed = await openDesk({ skewS })
  })

  test.each([
    [-1, 'expired'],
    [0, 'expired'],
    [1, 'allow'],
  ])('001-13, J17: exp %i s from the last tolerated second: %s', async (d, want) => {
    expect(await skewed.verdict({ claims: { exp: NOW_S - skewS + d, iat: NOW_S - 400 } })).toBe(want)
  })

  test.each([
    [-1, 'allow'],
    [0, 'allow'],
    [1, 'nbf_future'],
  ])('001-13: nbf %i s from the last tolerated second: %s', async (d, want) => {
    expect(await skewed.verdict({ claims: { nbf: NOW_S + skewS + d } })).toBe(want)
  })

  test.each([
    [-1, 'allow'],
    [0, 'allow'],
    [1, 'iat_future'],
  ])('001-13: iat %i s from the last tolerated second: %s', async (d, want) => {
    expect(await skewed.verdict({ claims: { iat: NOW_S + skewS + d, exp: NOW_S + 600 } })).toBe(want)
  })
})

test.each([0, 1, 999])('at %i ms into a second the second itself is compared', async (ms) => {
  const late = await openDesk({ ms })
  expect(await late.verdict({ claims: { exp: NOW_S - 60, iat: NOW_S - 400 } })).toBe('expired')
  expect(await late.verdict({ claims: { exp: NOW_S - 59, iat: NOW_S - 400 } })).toBe('allow')
  expect(await late.verdict({ claims: { nbf: NOW_S + 61 } })).toBe('nbf_future')
})

test.each([
  [3599, 'allow'],
  [3600, 'allow'],
  [3601, 'lifetime_too_long'],
  [86_400 * 365, 'lifetime_too_long'],
])('000-36: a lifetime of %i s where 3600 is the most: %s', async (lifetime, want) => {
  expect(await claims({ exp: NOW_S + lifetime })).toBe(want)
})

test.each([
  [-1, 'exp_invalid'],
  [0, 'exp_invalid'],
  [1, 'allow'],
])('exp %i s after iat: %s', async (d, want) => {
  expect(await claims({ exp: NOW_S + d })).toBe(want)
})

test.each<readonly [claim: string, missing: string, wrong: string]>([
  ['exp', 'exp_missing', 'exp_invalid'],
  ['iat', 'iat_missing', 'claim_invalid'],
  ['nbf', 'allow', 'claim_invalid'],
])(
  '001-22, J17: %s that is absent: %s; that is no whole positive number: %s',
  async (claim, missing, wrong) => {
    expect(await claims({ [claim]: undefined })).toBe(missing)
    for (const value of [null, '', `${NOW_S + 300}`, true, [], {}, 0, -1, NOW_S + 0.5, 2 ** 53, 1e300]) {
      expect(await claims({ [claim]: value }), JSON.stringify(value)).toBe(wrong)
    }
  },
)

test('001-22, J17: exp 1e999, which reads as infinity, is invalid and not eternal', async () => {
  const text = JSON.stringify({
    iss: ISSUER,
    aud: AUDIENCE,
    sub: 'a',
    client_id: 'c',
    jti: 'j',
    iat: NOW_S,
    exp: 0,
  })
  expect(await desk.verdict({ payloadText: text.replace('"exp":0', '"exp":1e999') })).toBe('exp_invalid')
})

test.each([
  ['the audience', AUDIENCE, 'allow'],
  ['a list with it alone', [AUDIENCE], 'allow'],
  ['a list with it and others', ['x', AUDIENCE, 'y'], 'allow'],
  ['another', 'https://other.example', 'aud_mismatch'],
  ['a list without it', ['https://other.example'], 'aud_mismatch'],
  ['an extension of it', `${AUDIENCE}.evil.example`, 'aud_mismatch'],
  ['a prefix of it', AUDIENCE.slice(0, -1), 'aud_mismatch'],
  ['it with a slash', `${AUDIENCE}/`, 'aud_mismatch'],
  ['it in upper case', AUDIENCE.toUpperCase(), 'aud_mismatch'],
  ['a text that contains it', `x ${AUDIENCE} y`, 'aud_mismatch'],
  ['an empty text', '', 'aud_mismatch'],
  ['absent', undefined, 'aud_missing'],
  ['null', null, 'aud_invalid'],
  ['a number', 7, 'aud_invalid'],
  ['an empty list', [], 'aud_invalid'],
  ['a list with a number', [AUDIENCE, 7], 'aud_invalid'],
  ['a list in a list', [[AUDIENCE]], 'aud_invalid'],
  ['an object', { 0: AUDIENCE }, 'aud_invalid'],
])('000-02, 000-09, J13, A3: aud: %s', async (_what, aud, want) => {
  expect(await claims({ aud })).toBe(want)
})

test.each([
  ['alone, as text', AUDIENCE, 'allow'],
  ['alone, in a list', [AUDIENCE], 'allow'],
  ['alone, twice', [AUDIENCE, AUDIENCE], 'allow'],
  ['with another', [AUDIENCE, 'x'], 'aud_not_exclusive'],
])('000-05, R2: an exclusive audience %s', async (_what, aud, want) => {
  const exclusive = await openDesk({ exclusiveAudience: true })
  expect(await exclusive.verdict({ claims: { aud } })).toBe(want)
})

test.each([
  ['absent', undefined, 'iss_missing'],
  ['another', 'https://evil.example', 'iss_unknown'],
  ['with a slash', `${ISSUER}/`, 'iss_unknown'],
  ['in upper case', ISSUER.toUpperCase(), 'iss_unknown'],
  ['with its port', `${ISSUER}:443`, 'iss_unknown'],
  ['empty', '', 'iss_unknown'],
  ['null', null, 'iss_unknown'],
  ['a number', 7, 'iss_unknown'],
  ['a list with it', [ISSUER], 'iss_unknown'],
  ['a name that objects have', '__proto__', 'iss_unknown'],
])('001-10: iss: %s', async (_what, iss, want) => {
  expect(await claims({ iss })).toBe(want)
})

describe.each(['sub', 'client_id', 'jti'])('A2, J12: %s', (name) => {
  test.each([
    ['absent', undefined, 'claim_missing'],
    ['empty', '', 'claim_invalid'],
    ['null', null, 'claim_invalid'],
    ['a number', 7, 'claim_invalid'],
    ['a list', ['alice'], 'claim_invalid'],
    ['257 characters', 'x'.repeat(257), 'claim_invalid'],
  ])('%s', async (_what, value, want) => {
    expect(await claims({ [name]: value })).toBe(want)
  })
})

test.each(['x', 'x'.repeat(256)])('client_id and jti of 1 to 256 characters are fine', async (text) => {
  expect(await claims({ client_id: text, jti: text })).toBe('allow')
})

test.each([
  ['invoice:read', 'allow'],
  ['a invoice:read b', 'allow'],
  ["!#$%&'()*+,-./:;<=>?@[]^_`{|}~ invoice:read", 'allow'],
  [' invoice:read', 'claim_invalid'],
  ['invoice:read ', 'claim_invalid'],
  ['a  invoice:read', 'claim_invalid'],
  ['a\tinvoice:read', 'claim_invalid'],
  ['a "invoice:read"', 'claim_invalid'],
  ['a\\b', 'claim_invalid'],
  ['é', 'claim_invalid'],
  [7, 'claim_invalid'],
  [null, 'claim_invalid'],
  [['invoice:read'], 'claim_invalid'],
])('002-09: scope %j: %s', async (scope, want) => {
  expect(await claims({ scope })).toBe(want)
})

test('a scope that is absent or empty grants none', async () => {
  expect(await claims({ scope: undefined })).toBe('insufficient_scope')
  expect(await claims({ scope: '' })).toBe('insufficient_scope')
})

test.each([
  [undefined, 'allow'],
  [[], 'allow'],
  [['a', 'b'], 'allow'],
  ['billing', 'claim_invalid'],
  [[7], 'claim_invalid'],
  [{ 0: 'billing' }, 'claim_invalid'],
  [null, 'claim_invalid'],
])('A7: roles %j: %s', async (roles, want) => {
  expect(await claims({ roles })).toBe(want)
})

test.each([
  ['at+jwt', 'allow'],
  ['AT+JWT', 'allow'],
  ['application/at+jwt', 'allow'],
  [undefined, 'typ_mismatch'],
  ['', 'typ_mismatch'],
  ['JWT', 'typ_mismatch'],
  ['id_token+jwt', 'typ_mismatch'],
  ['at+jwt ', 'typ_mismatch'],
  ['application/at+jwt; v=1', 'typ_mismatch'],
  ['dpop+jwt', 'typ_mismatch'],
])('A1: typ %j: %s', async (typ, want) => {
  expect(await desk.verdict({ header: { typ } })).toBe(want)
})

test('001-07, A4: an algorithm that is not pinned for the issuer is refused, even when its key is genuine', async () => {
  expect(await desk.verdict({ key: signingKey('ES256', 'desk-es') })).toBe('alg_not_allowed')
})

test('001-04: a kid that is absent is never guessed', async () => {
  expect(await desk.verdict({ header: { kid: undefined } })).toBe('kid_missing')
})

test('001-09: a signature by another key, or over other bytes, is not genuine', async () => {
  expect(await desk.verdict({ key: { ...signingKey('RS256', 'stranger'), kid: KEY.kid } })).toBe(
    'sig_invalid',
  )
  const swapped = Buffer.from(JSON.stringify({ iss: ISSUER })).toString('base64url')
  expect(await desk.verdict({ tamper: ([header, , signature]) => [header, swapped, signature] })).toBe(
    'sig_invalid',
  )
})

test.each<readonly [before: string, over: string, header: Members, wrong: Members]>([
  ['typ_mismatch', 'everything but iss', { typ: 'JWT', alg: 'ES256', kid: 'x' }, { exp: 1, aud: 'x' }],
  ['alg_not_allowed', 'kid and claims', { alg: 'ES256', kid: 'x' }, { exp: 1, aud: 'x' }],
  ['kid_missing', 'claims', { kid: undefined }, { exp: 1, aud: 'x' }],
  ['aud_mismatch', 'time and identity', {}, { aud: 'x', exp: 1, sub: '' }],
  ['expired', 'identity', {}, { exp: NOW_S - 100, iat: NOW_S - 200, sub: '' }],
])('%s is said before anything about %s', async (want, _over, header, wrong) => {
  expect(await desk.verdict({ header, claims: wrong })).toBe(want)
})

test('nothing is said about a claim before the signature is genuine', async () => {
  const forged = { sign: () => Buffer.alloc(256, 1), claims: { exp: 1, aud: 'x', sub: '', cnf: {} } }
  expect(await desk.verdict(forged)).toBe('sig_invalid')
})
