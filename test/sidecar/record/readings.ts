import type { Readings } from '../../../sidecar/record/metrics.ts'

// Numbers that are all different, so that none can stand in for another.

export const READINGS: Readings = {
  jwksHits: () => 90,
  jwksMisses: () => 10,
  keysUsedEarly: () => [['https://idp.test.example', 2]],
  jwksRefreshes: () => ({ ok: 3, failed: 4 }),
  jwksAgeSeconds: () => [['https://idp.test.example', 5.5]],
  bundleActivations: () => ({ ok: 6, refused: 7 }),
  engineMemoryBytes: () => 8_000,
  engineDiscards: () => 9,
  eventLoopLagSeconds: () => 0.01,
  inFlight: () => 11,
  logDropped: () => 12,
  ready: () => true,
  trustGeneration: () => 13,
  policyRevision: () => 'rev-14',
  pushed: () => ({
    revocationHead: 15,
    revocationEntries: 16,
    leaseSeconds: { standard: 17.5, strict: 1.8, read_degraded: 190 },
    connected: true,
    streams: 20,
    nacks: 21,
    trustSequence: 22,
    svidSeconds: { control: 2300, workload: 2400 },
    workloadStreams: 25,
  }),
}
