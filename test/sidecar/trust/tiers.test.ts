// Which lease an action is held to.
import { describe, expect, test } from 'vitest'
import { type Profile, Staleness } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { lapsed } from '../../../sidecar/trust/lease.ts'
import { parseTiers, type Tiers } from '../../../sidecar/trust/tiers.ts'

const { STALENESS_STANDARD, STALENESS_STRICT, STALENESS_READ_DEGRADED, STALENESS_UNSPECIFIED } = Staleness
const LEASES = { standardMs: 60_000, strictMs: 5_000, readDegradedMs: 900_000 }

type Stated = readonly Omit<Profile['routes'][number], 'requirements'>[]

function profile(routes: Stated, leases: Profile['leases'] = LEASES): Profile {
  return {
    audience: 'a',
    exclusiveAudience: false,
    maxTokenLifetimeS: 60,
    leases,
    routes: routes.map((route) => ({ ...route, requirements: undefined })),
    tokens: undefined,
  }
}

function tiersOf(routes: Stated): Tiers {
  const tiers = parseTiers(profile(routes))
  if (!tiers || !('leaseMs' in tiers)) throw new Error(`no tiers: ${tiers}`)
  return tiers
}

describe('the longest match decides', () => {
  const tiers = tiersOf([
    { actions: ['invoice:*', 'report:daily'], staleness: STALENESS_READ_DEGRADED },
    { actions: ['invoice:re*', 'pay'], staleness: STALENESS_STRICT },
    { actions: ['invoice:read', '__proto__'], staleness: STALENESS_STANDARD },
    { actions: ['invoice:refund*'], staleness: STALENESS_STANDARD },
  ])
  test.each([
    ['invoice:list', 900_000],
    ['invoice:', 900_000],
    ['invoice', 60_000],
    ['invoice:reopen', 5_000],
    ['invoice:read', 60_000],
    ['invoice:readall', 5_000],
    ['invoice:refund', 60_000],
    ['invoice:refund:all', 60_000],
    ['invoice:*', 900_000],
    ['invoice:re*', 5_000],
    ['pay', 5_000],
    ['pays', 60_000],
    ['report:daily', 900_000],
    ['report:*', 60_000],
    ['constructor', 60_000],
    ['', 60_000],
  ])('%s: %i ms', (action, want) => {
    expect(tiers.leaseMs(action)).toBe(want)
    expect(tiers.leaseMs(action)).toBe(want)
  })

  test('the order of the routes does not', () => {
    const reversed = tiersOf([
      { actions: ['invoice:re*'], staleness: STALENESS_STRICT },
      { actions: ['*'], staleness: STALENESS_READ_DEGRADED },
    ])
    expect([reversed.leaseMs('invoice:read'), reversed.leaseMs('x')]).toEqual([5_000, 900_000])
  })

  test('thousands of made-up actions cost no memory and change no answer', () => {
    for (let i = 0; i < 5_000; i++) expect(tiers.leaseMs(`invoice:x${i}`)).toBe(900_000)
    expect(tiers.leaseMs('invoice:reopen')).toBe(5_000)
  })
})

test('standalone has none, and routes without leases mean nothing', () => {
  expect(parseTiers(undefined)).toBeUndefined()
  expect(parseTiers({ ...profile([]), leases: undefined })).toBeUndefined()
  const routes = [{ actions: ['a'], staleness: STALENESS_STRICT }]
  expect(parseTiers({ ...profile(routes), leases: undefined })).toEqual([
    'profile.routes: need profile.leases',
  ])
})

const strict = (...actions: string[]) => ({ actions, staleness: STALENESS_STRICT })
test.each<readonly [what: string, profile: Profile, problem: string]>([
  ['999 ms', profile([], { ...LEASES, strictMs: 999 }), 'profile.leases.strict_ms'],
  ['900,001 ms', profile([], { ...LEASES, readDegradedMs: 900_001 }), 'profile.leases.read_degraded_ms'],
  ['no standard', profile([], { ...LEASES, standardMs: 0 }), 'profile.leases.standard_ms'],
  ['65 routes', profile(Array.from({ length: 65 }, (_, i) => strict(`a${i}`))), 'profile.routes'],
  [
    '65 actions',
    profile([strict(...Array.from({ length: 65 }, (_, i) => `a${i}`))]),
    'profile.routes[0].actions',
  ],
  ['no action', profile([strict()]), 'profile.routes[0].actions'],
  ['an empty action', profile([strict('a', '')]), 'profile.routes[0].actions[1]'],
  ['an asterisk within', profile([strict('a*b')]), 'profile.routes[0].actions[0]'],
  ['two asterisks', profile([strict('a**')]), 'profile.routes[0].actions[0]'],
  ['an action twice', profile([strict('a'), strict('b', 'a')]), 'profile.routes[1].actions[1]'],
  ['no tier', profile([{ actions: ['a'], staleness: STALENESS_UNSPECIFIED }]), 'profile.routes[0].staleness'],
  [
    'a tier of the future',
    profile([{ actions: ['a'], staleness: 9 as unknown as typeof STALENESS_STRICT }]),
    'profile.routes[0].staleness',
  ],
])('%s is refused with its path', (_what, stated, problem) => {
  const problems = parseTiers(stated)
  expect(Array.isArray(problems) ? problems.map((text) => text.split(': ')[0]) : problems).toEqual([problem])
})

test.each([
  [59_999, 'x', false],
  [60_000, 'x', true],
  [4_999, 'pay', false],
  [5_000, 'pay', true],
  [60_000, 'read', false],
  [899_999, 'read', false],
  [900_000, 'read', true],
  [Number.POSITIVE_INFINITY, 'read', true],
])('004-32: %i ms of silence, %s: lapsed is %s', (silenceMs, action, want) => {
  const tiers = tiersOf([strict('pay'), { actions: ['read'], staleness: STALENESS_READ_DEGRADED }])
  expect(lapsed({ tiers, lease: { silence: () => silenceMs } }, action, 0)).toBe(want)
})

test('without tiers nothing lapses', () => {
  expect(lapsed({ tiers: undefined, lease: { silence: () => Number.POSITIVE_INFINITY } }, 'x', 0)).toBe(false)
})
