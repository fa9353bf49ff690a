import fc from 'fast-check'
import type { SigningKey } from '../fixtures/keys.ts'
import { forge, goodClaims, goodHeader, type Members } from '../fixtures/tokens.ts'
import {
  type Change,
  claimChanges,
  headerChanges,
  MAX_LIFETIME_S,
  NOW_S,
  PUBLISHED,
  SKEW_S,
  spellingChanges,
  textChanges,
} from './differential-changes.ts'

// Tokens that differ from a good one in a few named ways, as the makers of attacks and of odd providers would write them.

export interface Wish {
  readonly key: SigningKey
  readonly changes: readonly Change[]
}

export function tokenOf({ key, changes }: Wish): string {
  const header = JSON.stringify(goodHeader(key, Object.assign({}, ...changes.map((change) => change.header))))
  const jti = { jti: 'differential' }
  const claims = JSON.stringify(
    goodClaims(NOW_S, Object.assign(jti, ...changes.map((change) => change.claims))),
  )
  const last = <K extends keyof Change>(name: K) =>
    changes.findLast((change) => change[name] !== undefined)?.[name]
  const [encode, tamper, sign] = [last('encode'), last('tamper'), last('sign')]
  return forge({
    key,
    headerText: last('headerText')?.(header) ?? header,
    payloadText: last('payloadText')?.(claims) ?? claims,
    ...(encode && { encode }),
    ...(tamper && { tamper }),
    ...(sign && { sign: sign(key) }),
  })
}

export const wishes: fc.Arbitrary<Wish> = fc
  .tuple(
    fc.constantFrom(...PUBLISHED),
    fc.oneof(
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 5, arbitrary: fc.array(changes(), { minLength: 1, maxLength: 1 }) },
      { weight: 3, arbitrary: fc.array(changes(), { minLength: 2, maxLength: 3 }) },
    ),
  )
  .map(([key, list]) => ({ key, changes: list }))

function changes(): fc.Arbitrary<Change> {
  return fc.oneof(
    fc.constantFrom(...headerChanges()),
    fc.constantFrom(...claimChanges()),
    fc.constantFrom(...textChanges()),
    fc.constantFrom(...spellingChanges()),
    timeChanges(),
    strangeClaims(),
    bitFlips(),
  )
}

/** Times around the second that decides. */
function timeChanges(): fc.Arbitrary<Change> {
  const near = fc.integer({ min: -2, max: 2 })
  return fc.oneof(
    near.map((d) => claimAt('exp', NOW_S - SKEW_S + d, { iat: NOW_S - 300 })),
    near.map((d) => claimAt('nbf', NOW_S + SKEW_S + d)),
    near.map((d) => claimAt('iat', NOW_S + SKEW_S + d)),
    near.map((d) => claimAt('exp', NOW_S + MAX_LIFETIME_S + d)),
    near.map((d) => claimAt('exp', NOW_S + d)),
    fc.integer({ min: -4000, max: 4000 }).map((d) => claimAt('exp', NOW_S + d, { iat: NOW_S - 4100 })),
  )
}

function claimAt(name: string, at: number, more: Members = {}): Change {
  return { what: `${name} at now ${at - NOW_S}`, claims: { ...more, [name]: at } }
}

/** Claims that nobody asked for, of any name and value: neither side may stumble over them. */
function strangeClaims(): fc.Arbitrary<Change> {
  const name = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('constructor', 'toString', 'exp ', 'EXP'),
  )
  return fc.tuple(name, fc.jsonValue({ maxDepth: 6 })).map(([claim, value]) => ({
    what: `claim ${JSON.stringify(claim)}`,
    payloadText: (text: string) => `${text.slice(0, -1)},${JSON.stringify(claim)}:${JSON.stringify(value)}}`,
  }))
}

/** One bit of the finished token, wherever it falls. */
function bitFlips(): fc.Arbitrary<Change> {
  return fc.tuple(fc.nat(2), fc.nat(2_000), fc.nat(5)).map(([which, where, bit]) => ({
    what: `bit ${bit} of character ${where} of segment ${which}`,
    tamper: (segments) => segments.map((text, index) => (index === which ? flipped(text, where, bit) : text)),
  }))
}

function flipped(text: string, where: number, bit: number): string {
  const at = where % Math.max(1, text.length)
  const code = text.charCodeAt(at) ^ (1 << bit)
  return text.slice(0, at) + String.fromCharCode(code) + text.slice(at + 1)
}
