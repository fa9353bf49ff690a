import { expect, test } from 'vitest'
import { denied, deny } from '../../sidecar/decision.ts'
import { createSingleUse } from '../../sidecar/token/single-use.ts'
import { createProve, forgetful } from '../../sidecar/token/verify.ts'
import { createVouch } from '../../sidecar/token/vouch.ts'
import { createTrustStore } from '../../sidecar/trust/store.ts'
import { AT_S as ARENA_S } from '../attacks/arena.ts'
import { openSteps } from '../attacks/steps.ts'
import { signingKey } from '../fixtures/keys.ts'
import { openPipeline, PATIENT } from '../fixtures/pipeline.ts'
import { question } from '../fixtures/question.ts'
import { introspectionAt } from '../fixtures/scripted-issuer.ts'
import { forge, goodClaims } from '../fixtures/tokens.ts'
import { EXPECTED, mint, PARTIES } from '../fixtures/vouching.ts'

// A question that waits for its token's issuer is answered by the time that it is then.

const AT_S = 1_790_000_000
const KEY = signingKey()
const SKEW_S = 60
const ASKED = {
  ...{ senderConstraints: [], introspect: true, sharedReplay: false, acrValues: [] },
  ...{ maxAuthAgeS: 0, maxTokenAgeS: 0, clientKind: 0 as const },
}

/** The verdict on a question during which the wall clock moves so far; `install`: beliefs are replaced meanwhile. */
async function answeredAfter(movesMs: number, { exp = AT_S + 600, install = false } = {}): Promise<string> {
  let wall = AT_S * 1000
  let waited = false
  const pipeline = await openPipeline({
    issuers: [
      { keys: [KEY], skewS: SKEW_S, introspection: introspectionAt('https://idp.test.example/introspect') },
    ],
    now: () => wall,
    tokens: { requirements: ASKED },
    askEndpoint: async () => {
      if (!waited) {
        waited = true
        wall += movesMs
        // Others ask meanwhile, so that the later time has been seen.
        await pipeline.ask(question(), PATIENT)
        if (install) await pipeline.install({})
      }
      return { kind: 'answered', status: 200, body: Buffer.from('{"active":true}') }
    },
  })
  const token = forge({ key: KEY, claims: { ...goodClaims(AT_S - 200), exp } })
  return pipeline.reason(question({ token }))
}

test.each([0, 5_000, 5_001, 59_000])('%i ms are waited, and are no step of the clock', async (ms) => {
  expect(await answeredAfter(ms)).toBe('allow')
  expect(await answeredAfter(ms, { install: true })).toBe('allow')
})

test.each([
  [-5_000, 'allow'],
  [-5_001, 'clock_unsafe'],
])('001-15: the clock moves by %i ms while a question waits: %s', async (ms, want) => {
  expect(await answeredAfter(ms)).toBe(want)
  expect(await answeredAfter(ms, { install: true })).toBe(want)
})

test.each([
  [9_000, 'allow'],
  [10_000, 'expired'],
  [11_000, 'expired'],
])('a token that ends in 10 s, after %i ms: %s', async (ms, want) => {
  expect(await answeredAfter(ms, { exp: AT_S - SKEW_S + 10 })).toBe(want)
  expect(await answeredAfter(ms, { exp: AT_S - SKEW_S + 10, install: true })).toBe(want)
})

/** What VerifyToken says of a token that ends then, when the wall clock moves so far while its key is fetched, or while it is used up. */
async function vouchedAfter(
  ms: number,
  { endsInS = 120, using = false }: { endsInS?: number; using?: boolean } = {},
): Promise<string> {
  const { trust } = await openSteps({ issuers: PARTIES.map((one) => ({ ...one, skewS: SKEW_S })) })
  const store = createTrustStore()
  store.swap(trust)
  let wall = ARENA_S * 1000
  const passes = () => {
    wall += ms
    store.current(wall)
  }
  const once = createSingleUse(undefined)
  const vouch = createVouch({
    wall: () => wall,
    current: store.current,
    prove: forgetful(
      createProve(async (issuer, { kid }) => {
        if (!using) passes()
        return issuer.keys.byKid.get(kid)?.[0] ?? deny('kid_unknown')
      }),
    ),
    once: {
      async spend(...use) {
        if (using) passes()
        return once.spend(...use)
      },
    },
    svid: undefined,
    broke: (fault) => {
      throw fault
    },
  })
  const asked = { tokenKind: 'logout_token', expected: EXPECTED.logout_token, timeoutMs: 0 } as const
  const claims = { iat: ARENA_S - 300, exp: ARENA_S - SKEW_S + endsInS }
  const { outcome } = await vouch({ ...asked, token: Buffer.from(mint('logout_token', claims)) }, PATIENT)
  return denied(outcome) ? outcome.reason : 'verified'
}

test.each([
  [30_000, 'verified'],
  [-5_001, 'clock_unsafe'],
])('VerifyToken, when the clock moves by %i ms while it waits: %s', async (ms, want) => {
  expect(await vouchedAfter(ms)).toBe(want)
  expect(await vouchedAfter(ms, { using: true })).toBe(want)
})

test.each([
  [9_000, 'verified'],
  [10_000, 'expired'],
])('VerifyToken, of a token that ends in 10 s, after %i ms: %s', async (ms, want) => {
  expect(await vouchedAfter(ms, { endsInS: 10 })).toBe(want)
  expect(await vouchedAfter(ms, { endsInS: 10, using: true })).toBe(want)
})
