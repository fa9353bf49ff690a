import { describe, expect, test } from 'vitest'
import { MEANING, type Reason } from '../../sidecar/decision.ts'
import { createMetrics, type Readings } from '../../sidecar/record/metrics.ts'
import { signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import { openArena, tokenOf, type Weapon } from './arena.ts'

const readings: Readings = {
  jwksHits: () => 1,
  jwksMisses: () => 1,
  keysUsedEarly: () => [],
  jwksRefreshes: () => ({ ok: 1, failed: 0 }),
  jwksAgeSeconds: () => [[ISSUER, 1]],
  bundleActivations: () => ({ ok: 1, refused: 0 }),
  engineMemoryBytes: () => 1,
  engineDiscards: () => 0,
  eventLoopLagSeconds: () => 0,
  inFlight: () => 0,
  logDropped: () => 0,
  ready: () => true,
  trustGeneration: () => 1,
  policyRevision: () => 'r',
  pushed: () => undefined,
}
const arena = await openArena()
const attacker = signingKey('ES256', 'attacker')

const strange = (serial: number): readonly Weapon[] => [
  { key: attacker, header: { kid: `kid-${serial}` } },
  { key: attacker, claims: { iss: `https://${serial}.example` } },
  { key: attacker, header: { alg: `alg-${serial}` } },
  { key: attacker, header: { typ: `typ-${serial}` } },
  { claims: { aud: `aud-${serial}`, sub: `sub-${serial}` } },
  { claims: { tenant: `tenant-${serial}` } },
  { claims: { client_id: `client-${serial}`, scope: `scope-${serial}` } },
]
const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
const withoutValue = (line: string) => line.slice(0, line.lastIndexOf(' '))

describe("attack 88: names of the attacker's choice as metric labels", () => {
  test('hundreds of strange tokens add no series and no label value', async () => {
    const metrics = createMetrics(readings)
    let asked = 0
    const count = async (weapon: Weapon) => {
      const { decision, principal } = await arena.pipeline.ask(
        question({ token: tokenOf(weapon), action: `a:${++asked}` }),
      )
      const rest = {
        policyRevision: 'r',
        trustGeneration: 1,
        request: undefined,
        decisionId: 'd',
        elapsedMs: 1,
      }
      metrics.count({ decision, principal, ...rest })
      return decision.kind === 'deny' ? decision.reason : 'allowed'
    }
    await count({})
    const before = lines(await metrics.text()).map(withoutValue)
    const seen = new Set<string>()
    for (let serial = 0; serial < 60; serial++)
      for (const weapon of strange(serial)) seen.add(await count(weapon))
    const after = await metrics.text()
    expect(lines(after).map(withoutValue)).toEqual(before)
    expect(seen.size).toBeGreaterThan(5)
    expect(after).not.toMatch(/kid-|alg-|typ-|sub-|aud-|tenant-|client-|\.example:?\d|scope-\d/)
  })

  test('every reason of the closed list, and nothing else, is a label from the start', async () => {
    const text = await createMetrics(readings).text()
    const labels = [...text.matchAll(/reason="([^"]*)"/g)].map(([, label]) => label)
    const closed: readonly string[] = [...(Object.keys(MEANING) as Reason[]), 'allowed']
    // Those of proofs go without their prefix in a metric of proofs.
    const known = new Set([...closed, ...closed.map((reason) => reason.replace(/^dpop_/, ''))])
    expect(labels.filter((label = '') => !known.has(label))).toEqual([])
    expect(closed.filter((reason) => !labels.includes(reason))).toEqual([])
  })
})
