// What one sidecar may have every sidecar deny: of its own issuers, a token or a session, and no more than it plausibly meets.
import { describe, expect, test } from 'vitest'
import {
  type Revocation,
  RevokeOutcome,
  SubscribeResponse,
} from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { AppendOutcome, type AppendResponse } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { createRevokes } from '../../../operator/publish/revokes.ts'
import { MADE_LIMITS } from '../../../operator/state/revocation-made.ts'

const AT = 1_790_000_000_000
const IDP = 'https://idp.example'
const GOOD: Revocation = {
  id: '',
  source: '',
  issuer: IDP,
  subject: { $case: 'sid', sid: 's-1' },
  issuedBeforeMs: 0,
  expiresAtMs: AT + 60_000,
}
const STORED: AppendResponse = { outcome: AppendOutcome.APPEND_OUTCOME_STORED, why: '' }

function open(answer: () => Promise<AppendResponse> = async () => STORED) {
  const appended: Revocation[] = []
  let clock = 0
  const revokes = createRevokes({
    append(entries) {
      appended.push(...entries)
      return answer()
    },
    tokenIssuer: (iss) => (iss === IDP ? 'shop/idp' : undefined),
    wall: () => AT,
    now: () => clock,
    wake: () => undefined,
  })
  const answers = () => {
    const found: { question: number; outcome: RevokeOutcome; why: string }[] = []
    for (let frame = revokes.next(); frame; frame = revokes.next()) {
      const { response } = SubscribeResponse.decode(frame)
      if (response?.$case === 'revokeAnswer') found.push(response.revokeAnswer)
    }
    return found
  }
  const ask = async (...entries: readonly Revocation[]) => {
    revokes.asked({ question: 7, entries: [...entries] })
    await new Promise(setImmediate)
    return answers()
  }
  return { revokes, appended, ask, answers, pass: (ms: number) => (clock += ms) }
}
const REFUSED = RevokeOutcome.REVOKE_OUTCOME_REFUSED

describe('what is stored', () => {
  test('000-17: a session, under the TokenIssuer that this sidecar believes', async () => {
    const { ask, appended } = open()
    const forged = { ...GOOD, id: 'uid/of-somebody', source: 'other/idp' }
    expect(await ask(forged)).toEqual([
      { question: 7, outcome: RevokeOutcome.REVOKE_OUTCOME_STORED, why: '' },
    ])
    expect(appended).toEqual([{ ...GOOD, source: 'shop/idp' }])
  })
  test('a subject until now at the latest: a new login is never forbidden', async () => {
    const { ask, appended } = open()
    await ask({ ...GOOD, subject: { $case: 'sub', sub: 'alice' }, issuedBeforeMs: AT + 9_000_000 })
    expect(appended[0]?.issuedBeforeMs).toBe(AT)
  })
  test('no longer than the longest token lives', async () => {
    const { ask, appended } = open()
    await ask({ ...GOOD, expiresAtMs: 9_000_000_000_000 })
    expect(appended[0]?.expiresAtMs).toBe(AT + MADE_LIMITS.lifetimeMs)
  })
})

test.each<readonly [what: string, entries: readonly Revocation[]]>([
  ['nothing', []],
  ['too many', Array.from({ length: MADE_LIMITS.entries + 1 }, () => GOOD)],
  ['of an issuer that it does not believe', [{ ...GOOD, issuer: 'https://idp.example/' }]],
  ['a key', [{ ...GOOD, subject: { $case: 'kid', kid: 'k-1' } }]],
  ['a tenant', [{ ...GOOD, subject: { $case: 'tenant', tenant: 'acme' } }]],
  ['everything', [{ ...GOOD, subject: { $case: 'everything', everything: true }, issuedBeforeMs: AT }]],
  ['a subject for ever', [{ ...GOOD, subject: { $case: 'sub', sub: 'alice' } }]],
  ['a client for ever', [{ ...GOOD, subject: { $case: 'clientId', clientId: 'web' } }]],
  ['an empty session', [{ ...GOOD, subject: { $case: 'sid', sid: '' } }]],
  ['a session of 513', [{ ...GOOD, subject: { $case: 'sid', sid: 's'.repeat(513) } }]],
  ['one without a subject', [{ ...GOOD, subject: undefined }]],
  ['one that has expired', [{ ...GOOD, expiresAtMs: AT }]],
  ['a good one and a bad one', [GOOD, { ...GOOD, subject: undefined }]],
])('%s is refused, and nothing is stored', async (_what, entries) => {
  const { ask, appended } = open()
  expect(await ask(...entries)).toMatchObject([{ question: 7, outcome: REFUSED }])
  expect(appended).toEqual([])
})

describe('a sidecar that was taken over', () => {
  test('is slowed to ten a second', async () => {
    const { ask, pass, appended } = open()
    const outcomes = async (times: number) => {
      let stored = 0
      for (let time = 0; time < times; time++) {
        const [answer] = await ask(GOOD)
        if (answer?.outcome === RevokeOutcome.REVOKE_OUTCOME_STORED) stored++
        else expect(answer?.outcome).toBe(RevokeOutcome.REVOKE_OUTCOME_UNAVAILABLE)
      }
      return stored
    }
    expect(await outcomes(150)).toBe(100)
    pass(1_000)
    expect(await outcomes(50)).toBe(10)
    expect(appended).toHaveLength(110)
  })
  test('that reads no answers is not answered without end', () => {
    const { revokes, answers } = open()
    for (let time = 0; time < 500; time++) revokes.asked({ question: time, entries: [] })
    expect(answers().length).toBeLessThanOrEqual(64)
  })
})

test.each<readonly [what: string, answer: () => Promise<AppendResponse>, outcome: RevokeOutcome]>([
  [
    'the log is full',
    async () => ({ outcome: AppendOutcome.APPEND_OUTCOME_FULL, why: 'full' }),
    RevokeOutcome.REVOKE_OUTCOME_UNAVAILABLE,
  ],
  [
    'nobody leads',
    async () => {
      throw new Error('no leader')
    },
    RevokeOutcome.REVOKE_OUTCOME_UNAVAILABLE,
  ],
  ['the leader refuses', async () => ({ outcome: AppendOutcome.APPEND_OUTCOME_REFUSED, why: 'no' }), REFUSED],
])('%s: the sidecar is told so, and asks again or not', async (_what, answer, outcome) => {
  expect(await open(answer).ask(GOOD)).toMatchObject([{ outcome }])
})
