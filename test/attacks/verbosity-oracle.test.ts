import { describe, expect, test } from 'vitest'
import { CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { deny, denyByRules, MEANING, type Meaning, type Reason, statusOf } from '../../sidecar/decision.ts'
import { encodeResponse } from '../../sidecar/serve/codec.ts'
import { signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { unsigned } from '../fixtures/tokens.ts'
import { AT_S, openArena, tokenOf, type Weapon } from './arena.ts'

const arena = await openArena()
const REASONS = Object.keys(MEANING) as Reason[]

// What is forwarded to the caller, as bytes.
function face(decision: Parameters<typeof encodeResponse>[0]['decision']): string {
  const bytes = encodeResponse({ decision, trust: undefined, principal: undefined }, 'id', 'invoice:read')
  const { outcome } = CheckResponse.decode(bytes)
  return outcome?.$case === 'deny' ? JSON.stringify(outcome.deny.client) : 'allow'
}
const kindOf = (reason: Reason) => {
  const meaning: Meaning = MEANING[reason]
  return `${meaning.status} ${meaning.error ?? ''}`
}

const FORBIDDEN: readonly Weapon[] = [
  { header: { alg: 'none' }, sign: unsigned },
  { claims: { exp: AT_S - 100, iat: AT_S - 400 } },
  { claims: { aud: 'https://other.example' } },
  { claims: { iss: 'https://other.example' } },
  { claims: { tenant: 'other' } },
  { claims: { sub: undefined } },
  { claims: { cnf: { kid: 'x' } } },
  { header: { kid: 'unknown' } },
  { header: { kid: '../x' } },
  { header: { typ: 'JWT' } },
  { key: signingKey('RS256', 'attacker'), header: { kid: 'rs256-1' } },
  { payloadText: '{' },
  'garbage',
  'a.b.c.d.e',
  'x'.repeat(9_000),
]

describe('attack 87: A8, 004-09: an answer that tells an attacker how far he got', () => {
  test('every reason of one status and error code shows the same bytes', () => {
    const shown = Map.groupBy(REASONS, kindOf)
    for (const [, reasons] of shown) expect(new Set(reasons.map((reason) => face(deny(reason)))).size).toBe(1)
    expect(shown.size).toBeLessThanOrEqual(11)
  })

  test('every reason of one status shows the same text', () => {
    const texts = Map.groupBy(REASONS, (reason) => statusOf(deny(reason)))
    for (const [, reasons] of texts) {
      expect(new Set(reasons.map((reason) => JSON.parse(face(deny(reason))).text)).size).toBe(1)
    }
  })

  test('every way a token can be wrong shows the same bytes', async () => {
    const outcomes = await Promise.all(
      FORBIDDEN.map((weapon) => arena.pipeline.ask(question({ token: tokenOf(weapon) }))),
    )
    expect(
      new Set(outcomes.map(({ decision }) => (decision.kind === 'deny' ? decision.reason : ''))).size,
    ).toBeGreaterThan(11)
    expect(new Set(outcomes.map(({ decision }) => face(decision))).size).toBe(1)
  })

  test('an invoice that is hidden, foreign or not there shows the same bytes', async () => {
    const token = tokenOf({})
    const stored = [{ owner: 'bob' }, { tenant: 'globex' }, { tenant: '', owner: '', id: '' }]
    const outcomes = await Promise.all(
      stored.map((facts) => arena.pipeline.ask(question({ token, stored: facts }))),
    )
    const faces = new Set(outcomes.map(({ decision }) => face(decision)))
    expect(faces.size).toBe(1)
    expect([...faces][0]).toContain('"status":404')
  })

  test('rule ids and details never reach the part that is forwarded', () => {
    const secret = face(denyByRules('policy_denied', ['very.secret.rule'], false))
    expect(secret).toBe(face(deny('policy_denied')))
    expect(secret).not.toContain('secret')
  })
})
