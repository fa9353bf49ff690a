// Floor and application together, and who may say yes.
import { resolve } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { type Decision, denied, statusOf } from '../../../sidecar/decision.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import { engineLimits, FLOOR_ENTRYPOINT, prepareBundle } from '../../../sidecar/policy/bundle.ts'
import { createJudge, isAllowance } from '../../../sidecar/policy/judge.ts'
import type { Principal } from '../../../sidecar/principal.ts'
import { readRequest } from '../../../sidecar/serve/codec.ts'
import { admitted } from '../../fixtures/admitted.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { openPipeline, type Pipeline } from '../../fixtures/pipeline.ts'
import { type Asked, question } from '../../fixtures/question.ts'
import { forge, type Members } from '../../fixtures/tokens.ts'

const KEY = signingKey()
const FLOOR = resolve(import.meta.dirname, '../../../policies/bundle')
let pipeline: Pipeline

beforeAll(async () => {
  pipeline = await openPipeline({ issuers: [{ keys: [KEY] }] })
})

async function decide(asked: Asked, claims: Members = {}): Promise<Decision> {
  const { decision } = await pipeline.ask(question({ token: forge({ key: KEY, claims }), ...asked }))
  return decision
}

const reasonOf = (decision: Decision) => (denied(decision) ? decision.reason : 'allow')

test('004-06: what floor and application both allow is allowed, with the rules that said so', async () => {
  expect(await decide({})).toMatchObject({ kind: 'allow', ruleIds: ['invoice.read.owner'] })
})

test.each<readonly [what: string, asked: Asked, claims: Members, want: string, status: number]>([
  ['another tenant’s invoice', { stored: { tenant: 'globex' } }, {}, 'tenant_mismatch', 404],
  ['an invoice without a tenant', { stored: { tenant: '' } }, {}, 'tenant_mismatch', 404],
  ['a colleague’s private invoice', { stored: { owner: 'bob' } }, {}, 'not_owner', 404],
  ['a foreign invoice to edit', { action: 'invoice:edit', stored: { owner: 'bob' } }, {}, 'not_owner', 404],
  ['an action without its scope', {}, { scope: 'invoice:edit' }, 'insufficient_scope', 403],
  [
    'an action that no rule knows',
    { action: 'invoice:burn' },
    { scope: 'invoice:burn' },
    'policy_denied',
    403,
  ],
])('%s is denied', async (...row) => {
  const [, asked, claims, want, status] = row
  const decision = await decide(asked, claims)
  expect(reasonOf(decision)).toBe(want)
  expect(denied(decision) && statusOf(decision)).toBe(status)
  expect(isAllowance(decision)).toBe(false)
})

test('a foreign tenant learns nothing else, whatever else is wrong', async () => {
  const decision = await decide({ stored: { tenant: 'globex', owner: 'bob' } }, { scope: 'other' })
  expect(reasonOf(decision)).toBe('tenant_mismatch')
  expect(denied(decision) && statusOf(decision)).toBe(404)
})

test.each([
  'alice","tenant":"globex',
  'alice\\',
  'alice\\"}}',
  '"',
  '\u2028\u2029',
  'al\u007fice',
  '{"id":"root"}',
])('a subject %j is a name and no syntax', async (sub) => {
  expect(reasonOf(await decide({ stored: { owner: sub } }, { sub }))).toBe('allow')
  expect(reasonOf(await decide({ stored: { owner: 'alice' } }, { sub }))).not.toBe('allow')
  expect(reasonOf(await decide({ stored: { owner: sub, tenant: 'globex' } }, { sub }))).toBe(
    'tenant_mismatch',
  )
})

test.each(['/x","action":"y', '/x\\', '/"}}'])('a URL %j is a URL and no syntax', async (url) => {
  expect(reasonOf(await decide({ url }))).toBe('allow')
})

test('claims that look like the rest of the input change nothing', async () => {
  const claims = {
    subject: { tenant: 'globex' },
    resource: { stored: { tenant: 'acme' } },
    action: 'x',
    version: 2,
  }
  expect(reasonOf(await decide({}, claims))).toBe('allow')
  expect(reasonOf(await decide({ stored: { tenant: 'globex' } }, claims))).toBe('tenant_mismatch')
})

test('facts that the application only received are no facts', async () => {
  const request = { tenant: 'acme', owner: 'alice', type: 'invoice', stored: { owner: 'alice' } }
  expect(reasonOf(await decide({ stored: { owner: 'bob' }, request }))).toBe('not_owner')
})

test('an allowance cannot be made by hand: no look-alike, copy, proxy or heir of one is one', async () => {
  const allowance = await decide({})
  if (denied(allowance)) throw new Error(allowance.reason)
  expect(isAllowance(allowance)).toBe(true)
  const impostors: readonly Decision[] = [
    { kind: 'allow', principal: allowance.principal, ruleIds: allowance.ruleIds },
    { ...allowance },
    Object.create(allowance),
    Object.create(Object.getPrototypeOf(allowance)),
    new Proxy(allowance, {}),
  ]
  for (const impostor of impostors) expect(isAllowance(impostor)).toBe(false)
})

test('nobody is judged whom nobody recognised', async () => {
  const { principal, trust } = await pipeline.ask(question({ token: forge({ key: KEY }) }))
  const request = readRequest(question({}))
  if (!principal || !trust || denied(request)) throw new Error('no question')
  const floor = await prepareBundle(await readBundle(FLOOR), FLOOR_ENTRYPOINT, engineLimits(64 * 1024 * 1024))
  const judge = createJudge(floor)
  const judged = (who: Principal) => judge(admitted(who, trust, request.action), request, trust, 0)
  expect(judged(principal).kind).toBe('allow')
  expect(() => judged({ ...principal, tenant: 'globex' })).toThrow('that nobody recognised')
})
