import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { parseSpiffeId, type X509Trust } from '../../../contracts/spiffe.ts'
import { type Authority, createAuthority, type KeyReading } from '../../../operator/identity/authority.ts'
import { type KeeperNeeds, keepKeys, readKeys } from '../../../operator/identity/key-keeper.ts'
import type { MeshIdentity } from '../../../operator/mesh/identity.ts'
import { type MemoryCabinet, memoryCabinet } from './cabinet.ts'

export const TD = 'cluster.example'
export const HOUR = 3_600_000
export const RULES = {
  trustDomain: TD,
  rootTtlMs: 8_760 * HOUR,
  refreshHintS: 300,
  maxTtlMs: { X509CA: HOUR, JWTSVID: 300_000, BundleSigning: 900_000 },
}
export const never = new AbortController().signal

/** A trust domain with its keys made, and a clock that stands where it is put. */
export interface Domain {
  readonly cabinet: MemoryCabinet
  readonly needs: KeeperNeeds
  readonly authority: Authority
  now: number
  /** Runs the leader until nothing more moves, then reads what replicas read. */
  keep(): Promise<KeyReading>
  reading(): KeyReading
  trust(): X509Trust
  /** An SVID for this path. */
  svid(path: string, ttlMs?: number): MeshIdentity
}

export async function openDomain(change: Partial<KeeperNeeds> = {}): Promise<Domain> {
  const cabinet = memoryCabinet()
  let read: KeyReading | undefined
  const needs: KeeperNeeds = {
    cabinet,
    rules: () => RULES,
    now: () => domain.now,
    entropy: randomBytes,
    rotations: () => [],
    verifiers: () => undefined,
    fleetSequence: () => 0,
    record: async () => undefined,
    ...change,
  }
  const reading = (): KeyReading => {
    if (!read) throw new Error('no keys yet')
    return read
  }
  const authority = createAuthority({
    reading,
    monotonic: () => 0,
    entropy: randomBytes,
    replica: 'replica-1',
  })
  const domain: Domain = {
    cabinet,
    needs,
    authority,
    now: Date.now(),
    keep: async () => {
      while ((await keepKeys(needs, never)) === 'again');
      const found = await readKeys(cabinet, never)
      if (!found) throw new Error('no keys were made')
      read = { ...found, readAt: 0 }
      return read
    },
    reading,
    trust: () => ({ trustDomain: TD, roots: reading().bundle.x509Roots }),
    svid: (path, ttlMs = HOUR) => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const signed = authority.signX509({ path, publicKey, ttlMs }, domain.now)
      const id = parseSpiffeId(signed.spiffeId)
      if (!id) throw new Error('no SPIFFE ID')
      return { ...signed, id, privateKey }
    },
  }
  await domain.keep()
  return domain
}
