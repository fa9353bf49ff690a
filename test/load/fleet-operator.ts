import { setTimeout as sleepMs } from 'node:timers/promises'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { AppendOutcome } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { createPublisher } from '../../operator/publish/publisher.ts'
import { PUBLISHER_DEFAULTS } from '../../operator/publish/settings.ts'
import type { World } from '../../operator/publish/world.ts'
import { allocate, EMPTY_TABLE, type GenerationTable } from '../../operator/state/generations.ts'
import { append, EMPTY_LOG, type RevocationLog } from '../../operator/state/revocation-log.ts'
import { peerOf, TRUST_DOMAIN, worldOf } from '../operator/publish/stage.ts'
import { bundle, keys, put, shop } from '../operator/state/objects.ts'

/**
 * The operator's half of the fleet measurement: one process that serves Feed and nothing else. Told over IPC what to do, it answers
 * with what it measured of itself. Arguments: streams, revisions of the policy so far, revocations so far, port.
 */

export type Order = { readonly do: 'measure' | 'revoke' | 'change' | 'acknowledged' }
export interface Measured {
  readonly rss: number
  readonly heap: number
  readonly cpuMs: number
  readonly streams: number
  readonly generation: number
  readonly head: number
  /** Sidecars that have acknowledged the newest generation and head. */
  readonly level: number
  /** When the change was published, milliseconds since the epoch. */
  readonly at: number
}

const [streams = 0, revisions = 1, revocations = 0, port = 0] = process.argv.slice(2).map(Number)
const JWKS = keys(
  JSON.stringify({
    keys: Array.from({ length: 4 }, (_, kid) => ({ kid, kty: 'RSA', n: 'n'.repeat(342), e: 'AQAB' })),
  }),
)
const POLICY = { 'policy.wasm': Buffer.alloc(300 * 1024, 1) }

const epochMs = (): number => performance.timeOrigin + performance.now()
const names = Array.from({ length: streams }, (_, index) => `p${index}`)

function world(revision: number, table: GenerationTable, log: RevocationLog): World {
  const cluster = shop(
    names,
    put('bundles', 'shop/rules', bundle(`r${revision}`, POLICY)),
    put('keySets', 'shop/idp', JWKS),
  )
  return worldOf({ cluster, table, log })
}

function revoked(log: RevocationLog, id: string): RevocationLog {
  const entry = {
    id,
    issuer: 'https://idp.example',
    subject: { $case: 'jti', jti: id },
    issuedBeforeMs: 0,
    expiresAtMs: 9_000_000_000_000,
    source: 'shop/idp',
  } as const
  const result = append(log, [{ op: 'add', entry, recalled: false }])
  if (!result.ok) throw new Error(result.why)
  return result.log
}

let log = EMPTY_LOG
for (let index = 0; index < revocations; index++) log = revoked(log, `jti-${index}`)
let revision = 1
let now = world(revision, allocate(EMPTY_TABLE, new Map()), log)
while (revision < revisions) now = world(++revision, now.table, log)

const publisher = createPublisher(
  { trustDomain: TRUST_DOMAIN, ...PUBLISHER_DEFAULTS },
  {
    now: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
    sleep: (ms, signal) => sleepMs(ms, undefined, { signal, ref: false }),
    report: () => undefined,
    mayVouch: () => true,
    refreshKeys: async () => ({ fetched: false, sha256: '' }),
    propagated: () => undefined,
    append: async () => ({
      outcome: AppendOutcome.APPEND_OUTCOME_UNAVAILABLE,
      why: 'not in this measurement',
    }),
    recalled: async () => ({ why: 'not in this measurement', full: false }),
    doubted: () => new Set(),
  },
)
publisher.update(now)

const server = new Server({ 'grpc.max_concurrent_streams': 1_000, 'grpc-node.max_session_memory': 64 })
const { definition, implementation } = publisher.service(peerOf)
server.addService(definition, implementation)
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error
  process.send?.({ port: bound })
})
void publisher.run(new AbortController().signal)

function measured(at = epochMs()): Measured {
  const { rss, heapUsed } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  const { streams: open, revocationHead: head } = publisher.status()
  const generation = now.table.projections.get('shop/front')?.generation ?? 0
  const level = publisher
    .states()
    .filter((one) => one.generation === generation && one.revocationHead === head).length
  return { rss, heap: heapUsed, cpuMs: (user + system) / 1000, streams: open, generation, head, level, at }
}

process.on('message', (order: Order) => {
  const at = epochMs()
  if (order.do === 'revoke') {
    log = revoked(log, `jti-${log.head}`)
    now = { ...now, log }
    publisher.update(now)
  }
  if (order.do === 'change') {
    now = world(++revision, now.table, log)
    publisher.update(now)
  }
  if (order.do === 'measure') globalThis.gc?.()
  process.send?.(measured(at))
})
process.on('disconnect', () => process.exit(0))
