import { X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { certificatesOf, type Pair, unverified } from '../../../operator/inject/certificate-plan.ts'
import { createCertificates, type StoredCertificates } from '../../../operator/inject/certificates.ts'
import { maker } from './maker.ts'

// The rotation of the webhook's certificates in fake time; certificates are real, made by another library than ours.

const DAY = 86_400_000
const HOUR = DAY / 24
const NAME = 'portcullis-control.portcullis-system.svc'
const signal = new AbortController().signal

/** One Secret and two webhooks, shared by all replicas of a test. */
function cluster(at: number) {
  const state = {
    at,
    stored: undefined as StoredCertificates | undefined,
    live: ['', ''],
    patches: 0,
    steps: [] as string[],
    /** Runs once, before the next write: another leader. */
    before: undefined as (() => Promise<void>) | undefined,
  }
  let version = 0
  const replica = () => {
    const served: Pair[] = []
    const gauge: number[] = []
    const certificates = createCertificates({
      maker,
      dnsNames: [NAME],
      now: () => state.at,
      report: (_event, facts) => state.steps.push(String(facts?.['step'])),
      serve: (pair) => served.push(pair),
      notAfter: (seconds) => gauge.push(seconds),
      store: {
        read: async () => state.stored,
        write: async (data, expected) => {
          const { before } = state
          state.before = undefined
          await before?.()
          if (state.stored?.version !== expected) return 'conflict'
          version += 1
          state.stored = { data, version: String(version) }
          return 'stored'
        },
      },
      hooks: {
        read: async () => [...state.live],
        patch: async (bundle) => {
          state.patches += 1
          state.live = state.live.map(() => bundle)
        },
      },
    })
    return { ...certificates, served, gauge, leaf: () => served.at(-1)?.certificate ?? '' }
  }
  return { state, replica }
}

const START = Date.parse('2026-11-25T12:00:00Z')

test('a fresh installation is ready after one pass of the leader, and every replica serves the same', async () => {
  const { state, replica } = cluster(START)
  const [leader, follower] = [replica(), replica()]
  await follower.pass(false, signal)
  expect(follower.notReadyBecause()).toMatch(/no certificate yet/)
  await leader.pass(true, signal)
  await follower.pass(false, signal)
  expect([leader.notReadyBecause(), follower.notReadyBecause()]).toEqual([undefined, undefined])
  expect(follower.leaf()).toBe(leader.leaf())
  expect(new X509Certificate(leader.leaf()).checkHost(NAME)).toBe(NAME)
  expect(leader.gauge).toEqual([Math.floor((START + 7 * DAY) / 1000)])
  await leader.pass(true, signal)
  expect([state.patches, leader.served.length]).toEqual([1, 1])
})

test('over a year, twice a day and whichever replica was asked, the live caBundle verifies what is served', async () => {
  const { state, replica } = cluster(START)
  const [leader, follower] = [replica(), replica()]
  const authorities = new Set<string>()
  for (let hour = 0; hour < 365 * 24; hour += 12) {
    state.at = START + hour * HOUR
    await leader.pass(true, signal)
    // The follower is up to a day behind, as if its watch had stood still.
    for (const { leaf } of hour > 0 ? [leader, follower] : [leader])
      for (const bundle of state.live) expect(unverified(leaf(), bundle, state.at)).toBeUndefined()
    if (hour % 24 === 0) await follower.pass(false, signal)
    for (const pem of certificatesOf(state.live[0] ?? '')) authorities.add(pem)
    expect(certificatesOf(state.live[0] ?? '').length).toBeLessThanOrEqual(3)
  }
  expect(authorities.size).toBe(7)
  expect(new Set(state.steps)).toEqual(new Set(['begin', 'prepare', 'activate', 'renew', 'forget']))
})

test('a new authority does not sign before every webhook knows it', async () => {
  const { state, replica } = cluster(START)
  const leader = replica()
  await leader.pass(true, signal)
  state.at += 61 * DAY
  for (let pass = 0; pass < 3; pass += 1) await leader.pass(true, signal)
  expect(state.steps).toContain('prepare')
  const kept = state.live[0] ?? ''
  state.at += 2 * HOUR
  // One webhook was put back to an earlier state by someone.
  state.live = [kept, certificatesOf(kept)[1] ?? '']
  await leader.pass(true, signal)
  expect(state.steps).not.toContain('activate')
  expect(state.live).toEqual([kept, kept])
  await leader.pass(true, signal)
  expect(state.steps).toContain('activate')
  expect(leader.notReadyBecause()).toBeUndefined()
})

test('a caBundle that someone took away is put back, and readiness says so meanwhile', async () => {
  const { state, replica } = cluster(START)
  const [leader, follower] = [replica(), replica()]
  await leader.pass(true, signal)
  state.live = [state.live[0] ?? '', '']
  await follower.pass(false, signal)
  expect(follower.notReadyBecause()).toMatch(/caBundle does not verify/)
  await leader.pass(true, signal)
  await follower.pass(false, signal)
  expect(follower.notReadyBecause()).toBeUndefined()
  state.live = []
  await follower.pass(false, signal)
  expect(follower.notReadyBecause()).toMatch(/portcullis-inject .* is missing/)
})

test.each<[string, (data: Record<string, string>) => Record<string, string> | undefined]>([
  ['is gone', () => undefined],
  ['has no authority', ({ 'ca-current.crt': _, ...rest }) => rest],
  ['has a certificate that is none', (data) => ({ ...data, 'ca-current.crt': 'x' })],
  ['has the key of another authority', (data) => ({ ...data, 'ca-current.key': data['tls.key'] ?? '' })],
  ['has the key of another leaf', (data) => ({ ...data, 'tls.key': data['ca-current.key'] ?? '' })],
])(
  'a Secret that %s is made good, and replicas that still serve the old leaf stay known',
  async (_name, broken) => {
    const { state, replica } = cluster(START)
    const [leader, follower] = [replica(), replica()]
    await leader.pass(true, signal)
    await follower.pass(false, signal)
    const data = broken({ ...state.stored?.data })
    state.stored = data && { data, version: 'edited' }
    await leader.pass(true, signal)
    for (const bundle of state.live) expect(unverified(follower.leaf(), bundle, state.at)).toBeUndefined()
    await follower.pass(false, signal)
    expect([leader.notReadyBecause(), follower.notReadyBecause()]).toEqual([undefined, undefined])
    expect(follower.leaf()).toBe(leader.leaf())
  },
)

test('of two leaders one writes, and the other takes what was written', async () => {
  const { state, replica } = cluster(START)
  const [one, other] = [replica(), replica()]
  state.before = () => other.pass(true, signal)
  await one.pass(true, signal)
  expect(one.leaf()).toBe(other.leaf())
  expect(one.notReadyBecause()).toBeUndefined()
  expect(state.steps).toEqual(['begin'])
})

test('an expired certificate is not ready, whatever the caBundle', async () => {
  const { state, replica } = cluster(START)
  const leader = replica()
  await leader.pass(true, signal)
  state.at += 8 * DAY
  expect(leader.notReadyBecause()).toMatch(/not valid now/)
})
