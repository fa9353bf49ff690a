import { describe, expect, test } from 'vitest'
import { denied, deny } from '../../sidecar/decision.ts'
import { createSingleUse } from '../../sidecar/token/single-use.ts'
import { createProve, forgetful } from '../../sidecar/token/verify.ts'
import { createVouch } from '../../sidecar/token/vouch.ts'
import type { EndpointAnswer } from '../../sidecar/trust/endpoint.ts'
import type { Snapshot } from '../../sidecar/trust/snapshot.ts'
import { AT_S as ARENA_S } from '../attacks/arena.ts'
import { openSteps } from '../attacks/steps.ts'
import { signingKey } from '../fixtures/keys.ts'
import { type IssuerPlan, openPipeline, PATIENT, type PipelinePlan } from '../fixtures/pipeline.ts'
import { question } from '../fixtures/question.ts'
import { introspectionAt } from '../fixtures/scripted-issuer.ts'
import { forge, goodClaims } from '../fixtures/tokens.ts'
import { EXPECTED, mint, PARTIES } from '../fixtures/vouching.ts'

// Beliefs are replaced while a check waits for an issuer's answer: what counts is what is believed when the answer is given.

const AT_S = 1_790_000_000
const KEY = signingKey()
const NOTHING_ASKED = {
  ...{ senderConstraints: [], introspect: true, sharedReplay: false, acrValues: [] },
  ...{ maxAuthAgeS: 0, maxTokenAgeS: 0, clientKind: 0 as const },
}
const ISSUER_PLAN: IssuerPlan = {
  keys: [KEY],
  introspection: introspectionAt('https://idp.test.example/introspect'),
}
const ACTIVE: EndpointAnswer = { kind: 'answered', status: 200, body: Buffer.from('{"active":true}') }

async function overtakenBy(change: Partial<PipelinePlan>, times = 1) {
  let asked = 0
  const pipeline = await openPipeline({
    issuers: [ISSUER_PLAN],
    now: () => AT_S * 1000,
    tokens: { requirements: NOTHING_ASKED },
    askEndpoint: async () => {
      if (asked++ < times) await pipeline.install(change)
      return ACTIVE
    },
  })
  const verdict = await pipeline.reason(question({ token: forge({ key: KEY, claims: goodClaims(AT_S) }) }))
  return { verdict, asked }
}

describe('beliefs that are replaced while a check waits', () => {
  test.each<readonly [what: string, change: Partial<PipelinePlan>, verdict: string]>([
    ['nothing that concerns the token', { maxTokenLifetimeS: 3_599 }, 'allow'],
    ['its issuer', { issuers: [{ ...ISSUER_PLAN, issuer: 'https://other.example' }] }, 'iss_unknown'],
    ['its key, revoked', { issuers: [{ ...ISSUER_PLAN, revokedKids: [KEY.kid] }] }, 'kid_revoked'],
    ['its key, gone', { issuers: [{ ...ISSUER_PLAN, keys: [signingKey('RS256', 'other')] }] }, 'kid_unknown'],
    ['the audience', { audience: 'https://other.example' }, 'aud_mismatch'],
    [
      'what the route asks',
      { tokens: { requirements: { ...NOTHING_ASKED, senderConstraints: [1] } } },
      'cnf_required',
    ],
  ])('%s', async (_what, change, expected) => {
    const { verdict } = await overtakenBy(change)
    expect(verdict).toBe(expected)
  })

  test('the issuer is asked again under the new beliefs', async () => {
    expect((await overtakenBy({ maxTokenLifetimeS: 3_599 })).asked).toBe(2)
  })

  test('beliefs that are replaced each time are never acted on', async () => {
    const { verdict, asked } = await overtakenBy({}, Number.POSITIVE_INFINITY)
    expect(verdict).toBe('not_ready')
    expect(asked).toBeLessThanOrEqual(4)
  })
})

describe('VerifyToken, when beliefs are replaced while it waits', async () => {
  const { trust } = await openSteps({ issuers: [...PARTIES] })
  const proveNow = forgetful(
    createProve((issuer, { kid }) => issuer.keys.byKid.get(kid)?.[0] ?? deny('kid_unknown')),
  )
  const vouchedWhile = async (
    change: (before: Snapshot) => Snapshot,
    { times = 1, using = false }: { times?: number; using?: boolean } = {},
  ) => {
    let [believed, looks] = [trust, 0]
    const waits = () => {
      if (looks++ < times) believed = change(believed)
    }
    const once = createSingleUse(undefined)
    const vouch = createVouch({
      wall: () => ARENA_S * 1000,
      current: () => believed,
      prove: (inquiry) => {
        if (!using) waits()
        return proveNow(inquiry)
      },
      once: {
        async spend(...use) {
          if (using) waits()
          return once.spend(...use)
        },
      },
      svid: undefined,
      broke: (fault) => {
        throw fault
      },
    })
    const asked = { tokenKind: 'logout_token', expected: EXPECTED.logout_token, timeoutMs: 0 } as const
    const request = { ...asked, token: Buffer.from(mint('logout_token')) }
    const { outcome, trust: of } = await vouch(request, PATIENT)
    return { verdict: denied(outcome) ? outcome.reason : 'verified', generation: of?.generation }
  }
  const next = (before: Snapshot) => ({ ...before, generation: before.generation + 1 })

  describe.each([
    ['for its key', false],
    ['for the store of what was used', true],
  ])('%s', (_what, using) => {
    test('what they refuse is refused', async () => {
      const { verdict } = await vouchedWhile((before) => ({ ...next(before), issuers: new Map() }), { using })
      expect(verdict).toBe('iss_unknown')
    })

    test('what they do not touch is used once, under them', async () => {
      const want = { verdict: 'verified', generation: trust.generation + 1 }
      expect(await vouchedWhile(next, { using })).toEqual(want)
    })
  })

  test('replaced each time, nobody knows', async () => {
    expect((await vouchedWhile(next, { times: Number.POSITIVE_INFINITY })).verdict).toBe('not_ready')
  })

  test('what was used here alone and must now be unused everywhere: nobody knows', async () => {
    const demanding = (before: Snapshot): Snapshot => ({
      ...next(before),
      tokens: {
        ...before.tokens,
        requirements: (action) => ({ ...before.tokens.requirements(action), sharedReplay: true }),
      },
    })
    expect((await vouchedWhile(demanding, { using: true })).verdict).toBe('not_ready')
  })
})
