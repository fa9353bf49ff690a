import { afterEach, beforeEach, expect, test } from 'vitest'
import { parseTrustDomain } from '../../../contracts/crd/trust-domain.ts'
import type { Condition } from '../../../contracts/crd.ts'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createRecalling } from '../../../operator/control/recalling.ts'
import { createRevoking } from '../../../operator/control/revoking.ts'
import { writeStatuses } from '../../../operator/control/statuses.ts'
import type { Happening } from '../../../operator/kube/events.ts'
import type { Transport } from '../../../operator/kube/transport.ts'
import { positionOf } from '../../../operator/state/revocation-diff.ts'
import { revocation, tokenIssuer } from '../state/objects.ts'
import { type Mirrors, openMirrors } from './mirrors.ts'

// `StateRolledBack` from the moment that the fleet knows more than the database until nothing of that stands alone any more.

const never = new AbortController().signal
const POD = { uid: 'u-1', namespace: 'shop', name: 'a' }
let mirrors: Mirrors
let happened: Happening[]

beforeEach(async () => {
  mirrors = await openMirrors()
  happened = []
  mirrors.put('TokenIssuer', tokenIssuer('shop', 'idp'))
  domain([])
})
afterEach(() => mirrors[Symbol.asyncDispose]())

function domain(conditions: readonly Condition[]): void {
  const parsed = parseTrustDomain({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'TrustDomain',
    metadata: {
      name: 'main',
      uid: 'd',
      generation: 1,
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { name: 'cluster.example' },
    status: { observedGeneration: 1, conditions },
  })
  if (!parsed.ok) throw new Error(JSON.stringify(parsed))
  mirrors.put('TrustDomain', parsed.value)
}

/** Server-side apply to the one TrustDomain; the rest as it is. */
const transport = (): Transport => ({
  ...mirrors.api,
  async send(request, signal) {
    if (request.method !== 'PATCH' || request.resource.plural !== 'trustdomains')
      return mirrors.api.send(request, signal)
    const { status } = request.body as { readonly status: { readonly conditions: readonly Condition[] } }
    domain(status.conditions)
    return { ok: true, value: { metadata: { name: 'main' } } }
  },
})
const said = () => {
  const [one, ...others] = mirrors.watch.kinds.TrustDomain.store.list()[0]?.parsed.status?.conditions ?? []
  return one ? `${one.type}=${one.status} ${one.message}${others.length > 0 ? ' …' : ''}` : ''
}

const recalling = () =>
  createRecalling({
    ...mirrors,
    transport: transport(),
    events: { tell: (one) => happened.push(one), [Symbol.asyncDispose]: async () => undefined },
    update: () => undefined,
    signal: never,
  })
const statuses = () =>
  writeStatuses(
    mirrors.views.current(),
    {
      watch: mirrors.watch,
      states: () => new Map(),
      keysSeen: () => undefined,
      attempt: () => undefined,
      revocationProblem: () => '',
      injection: () => undefined,
      exempt: new Set(),
      trustDomain: 'cluster.example',
      report: mirrors.ports.report,
    },
    mirrors.ports.now(),
    { transport: transport(), signal: never },
  )
const forgotten: Revocation = {
  id: 'gone/1',
  source: 'shop/idp',
  issuer: 'https://idp.example',
  subject: { $case: 'jti', jti: 'j1' },
  issuedBeforeMs: 0,
  expiresAtMs: Date.UTC(2030, 0),
}
const told = (entries: readonly Revocation[]) => ({
  pod: POD,
  generation: 3,
  revocationHead: 50,
  entries,
  sources: [],
  begins: true,
  own: false,
})

test('what was recalled is counted until its object is there again, and then it is over', async () => {
  expect(await recalling()(told([forgotten]))).toBeUndefined()
  expect(said()).toContain('StateRolledBack=True the fleet knew more than the database (first told by shop/a')
  expect(happened).toMatchObject([{ type: 'Warning', reason: 'StateRolledBack' }])
  await mirrors.ports.pass(60_000)
  await statuses()
  expect(said()).toContain('1 of the revocations in force have no object')

  const again = revocation('shop', 'again')
  mirrors.put('Revocation', again)
  const stands = async () => true
  const revoking = createRevoking({ ...mirrors, random: () => 0, kindExists: async () => 'there', stands })
  await revoking.settle(mirrors.ports.now(), never)
  const { log } = mirrors.views.current()
  expect(typeof log === 'string' ? log : positionOf(log, again.metadata.uid)).toBeGreaterThan(50)
  await statuses()
  expect(said()).toContain('StateRolledBack=False every revocation that was taken back has an object again')
})

test('a database that only gave out fewer numbers is whole again after half a minute', async () => {
  await recalling()(told([]))
  await mirrors.ports.pass(29_000)
  await statuses()
  expect(said()).toContain('StateRolledBack=True')
  await mirrors.ports.pass(1_000)
  await statuses()
  expect(said()).toContain('StateRolledBack=False')
})

test('a fleet that goes on telling is heard every 15 seconds, so that what is over begins anew', async () => {
  const recalled = recalling()
  await recalled(told([]))
  for (let seconds = 0; seconds < 40; seconds += 10) {
    await mirrors.ports.pass(10_000)
    await recalled(told([]))
  }
  expect(happened).toHaveLength(3)
  await statuses()
  expect(said()).toContain('StateRolledBack=True')
})
