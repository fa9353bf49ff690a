// The decision log's line: a closed list of fields, and no way for a secret to get into one.
import { expect, test } from 'vitest'
import { denyRequest } from '../../../sidecar/decision.ts'
import { auditLine } from '../../../sidecar/record/audit.ts'
import { createMetrics } from '../../../sidecar/record/metrics.ts'
import { createRecorder } from '../../../sidecar/record/recorder.ts'
import { decided } from './decided.ts'
import { READINGS } from './readings.ts'

const TIME = '2026-09-02T12:00:00.000Z'

const ALWAYS = ['time', 'decision_id', 'outcome', 'status', 'trust_generation', 'elapsed_us']
const ASKED = ['action', 'resource_type', 'resource_id']
const WHO = ['issuer', 'subject', 'client_id', 'tenant', 'kid', 'jti', 'token_iat']

async function fields(...given: Parameters<typeof decided>): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse(auditLine(await decided(...given), TIME))
}

test('004-36: an allowance has these fields and no others', async () => {
  const line = await fields()
  expect(Object.keys(line).sort()).toEqual(
    [...ALWAYS, ...ASKED, ...WHO, 'rule_ids', 'policy_revision'].sort(),
  )
  expect(line).toMatchObject({
    time: TIME,
    decision_id: 'id-1',
    outcome: 'allow',
    status: 200,
    rule_ids: ['invoice.read.owner'],
    action: 'invoice:read',
    subject: 'alice',
    tenant: 'acme',
    elapsed_us: 123,
  })
})

test('a denial by policy has a reason besides', async () => {
  const line = await fields({}, { stored: { tenant: 'globex' } })
  expect(Object.keys(line).sort()).toEqual(
    [...ALWAYS, ...ASKED, ...WHO, 'rule_ids', 'policy_revision', 'reason'].sort(),
  )
  expect(line).toMatchObject({ outcome: 'deny', reason: 'tenant_mismatch', status: 404 })
})

test('a denial of the token names nobody: identity appears once a signature vouched for it', async () => {
  for (const wish of [
    { sign: () => Buffer.alloc(256) },
    { claims: { aud: 'x' } },
    { header: { alg: 'none' } },
  ]) {
    const line = await fields(wish)
    expect(Object.keys(line).sort()).toEqual([...ALWAYS, ...ASKED, 'policy_revision', 'reason'].sort())
    expect(JSON.stringify(line)).not.toContain('alice')
  }
})

test('a question that breaks the contract has a detail, and nothing of the question', async () => {
  const line = JSON.parse(
    auditLine(
      {
        ...(await decided()),
        decision: denyRequest('url: required'),
        principal: undefined,
        request: undefined,
        policyRevision: '',
      },
      TIME,
    ),
  )
  expect(Object.keys(line).sort()).toEqual([...ALWAYS, 'reason', 'detail'].sort())
})

test('002-19: neither token, claim, header, URL nor attribute gets into a line, whatever the outcome', async () => {
  const canary = 'canary-4f1d'
  const claims = { email: canary, secret: { deep: canary } }
  const asked = {
    url: `/x?q=${canary}`,
    request: { password: canary },
    stored: { attributes: { card: canary } },
  }
  for (const wish of [
    { claims },
    { claims: { ...claims, exp: 1 } },
    { claims, header: { kid: canary } },
    { claims, sign: () => Buffer.from(canary) },
  ]) {
    const line = auditLine(await decided(wish, asked), TIME)
    expect(line).not.toContain(canary)
    expect(line).not.toContain('eyJ')
  }
})

test('text that would break a line is escaped: one decision is one line', async () => {
  const line = auditLine(await decided({ claims: { sub: 'a\n{"outcome":"allow"}\u2028\r' } }), TIME)
  expect(line).not.toMatch(/[\n\r]/)
  expect(JSON.parse(line).outcome).toBe('deny')
})

const iso = (at: number) => new Date(at).toISOString()

function openLines() {
  const lines: string[] = []
  const log = {
    line: (text: string) => void lines.push(text),
    dropped: () => 0,
    flush: async () => undefined,
  }
  return { lines, log }
}

test.each([
  ['on', 1],
  ['off', 0],
])('with the decision log %s, a decision is counted once and logged %i times', async (log, count) => {
  const output = openLines()
  const metrics = createMetrics(READINGS)
  createRecorder(metrics, log === 'on' ? output.log : undefined, () => 0, iso)(await decided())
  expect(output.lines).toHaveLength(count)
  expect(await metrics.text()).toContain('portcullis_decisions_total{outcome="allow",reason="allowed"} 1')
})

test('the time of a line is the decision’s own', async () => {
  const { lines, log } = openLines()
  const times = [0, 0, 1_790_000_000_123, 1_790_000_000_123, 1]
  const clock = times.values()
  const record = createRecorder(createMetrics(READINGS), log, () => clock.next().value ?? 0, iso)
  const one = await decided()
  for (const _ of times) record(one)
  expect(lines.map((line) => JSON.parse(line).time)).toEqual(times.map(iso))
})
