import type { LiveIdentity } from '../contracts/redis/credentials.ts'
import type { RedisSettings } from '../contracts/redis/settings.ts'
import { createRedis } from '../contracts/redis.ts'
import { readBounded } from './feed/bounded-file.ts'
import { createFamilies, type FamilyEvent, type RevokeAccess } from './grants/families.ts'
import { createFamilyMemory } from './grants/family-memory.ts'
import { createSharedFamilies, FAMILY_REDIS } from './grants/family-redis.ts'
import type { FamilyStore } from './grants/family-store.ts'
import type { RandomBytes } from './grants/seal.ts'
import type { DenyFact, Now, Random, Report, RevokeEverywhere, Sleep } from './ports.ts'
import type { TokenTelemetry } from './record/token-metrics.ts'
import type { CredentialService } from './serve/credentials.ts'
import { refreshFamiliesService } from './serve/refresh-families.ts'
import { SINGLE_USE_MS } from './token/single-use.ts'
import type { Replay } from './trust/replay.ts'
import { createSharedReplay } from './trust/replay-redis.ts'

export interface SharingNeeds {
  readonly wall: Now
  readonly sleep: Sleep
  readonly random: Random
  readonly chance: RandomBytes
  readonly report: Report
  /** The workload's own certificate; `undefined` while there is none. */
  readonly identity: () => LiveIdentity | undefined
}

/** What replicas share, or what one keeps for itself where nothing is shared. */
export interface Sharing {
  readonly replay: Replay | undefined
  /** Of tokens that are used once. */
  readonly once: Replay | undefined
  readonly families: FamilyStore
  /** Keeps the connections until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Connections that are missing. */
  readonly missing: () => number
}

/** Changes of families may wait for replicas; a proof may not wait for them. */
const FAMILY_COMMAND_MS = 500

export function createSharing(settings: RedisSettings | undefined, needs: SharingNeeds): Sharing {
  const { wall, sleep, report } = needs
  if (!settings)
    return {
      replay: undefined,
      once: undefined,
      families: createFamilyMemory(wall),
      run: async () => undefined,
      missing: () => 0,
    }
  const open = (use: string, limits = {}) =>
    createRedis(
      settings,
      {
        ...needs,
        readFile: (path) => readBounded(path, SECRET_FILE_BYTES),
        report: ({ address, trouble }) => report('redis', { use, address, trouble: trouble ?? 'none' }),
      },
      limits,
    )
  // Two connections, because waiting for replicas holds up whatever comes after it on the same one.
  const proofs = open('proofs')
  const kept = open('families', { commandMs: FAMILY_COMMAND_MS })
  const { keyPrefix, replicas } = settings
  const families = createSharedFamilies(
    { redis: kept, wall, sleep },
    { ...FAMILY_REDIS, keyPrefix, replicas },
  )
  const replay = createSharedReplay(proofs, keyPrefix)
  const once = createSharedReplay(proofs, keyPrefix, { part: 'once', windowMs: SINGLE_USE_MS })
  return {
    replay,
    once,
    families,
    run: async (signal) =>
      void (await Promise.all([
        proofs.run(signal),
        kept.run(signal),
        families.run(signal),
        replay.run(sleep, signal),
        once.run(sleep, signal),
      ])),
    missing: () => proofs.troubles().length + kept.troubles().length,
  }
}

const SECRET_FILE_BYTES = 64 * 1024

export interface GuardNeeds extends Pick<SharingNeeds, 'wall' | 'chance' | 'report' | 'sleep'> {
  readonly telemetry: TokenTelemetry
  readonly revokeEverywhere: RevokeEverywhere
  readonly life: AbortSignal
}

/** The service that applications rotate their refresh tokens with. */
export function createFamilyGuard(store: FamilyStore, needs: GuardNeeds): CredentialService {
  const { wall, chance, life } = needs
  const revokeAccess = createRevokeAccess(needs)
  const tell = (event: FamilyEvent) => count(event, needs)
  const families = createFamilies({ store, wall, chance, revokeAccess, tell, lifetime: life })
  return refreshFamiliesService(families, wall, life)
}

const MOST_UNTOLD = 1_000
const TELL_AGAIN_MS = 5_000

/**
 * The access tokens of a session, or of a subject where there is no session, are denied here at once. Who cannot be told now is told
 * later, until the tokens have expired by themselves.
 */
function createRevokeAccess({ wall, sleep, life, revokeEverywhere }: GuardNeeds): RevokeAccess {
  let untold = 0
  const tellLater = async (fact: DenyFact): Promise<void> => {
    if (untold >= MOST_UNTOLD) return
    untold++
    for (let told: string = 'unavailable'; told === 'unavailable' && wall() < fact.expiresAtMs; ) {
      await sleep(TELL_AGAIN_MS, life)
      told = await revokeEverywhere(fact, life)
    }
    untold--
  }
  return async ({ issuer, subject, sessionId }, expiresAtMs, signal) => {
    const fact: DenyFact = sessionId
      ? { issuer, kind: 'sid', value: sessionId, issuedBeforeMs: 0, expiresAtMs }
      : { issuer, kind: 'sub', value: subject, issuedBeforeMs: wall(), expiresAtMs }
    const told = await revokeEverywhere(fact, signal)
    if (told === 'unavailable') tellLater(fact).catch(() => undefined)
    return told === 'stored'
  }
}

function count(event: FamilyEvent, { telemetry, report }: GuardNeeds): void {
  switch (event.event) {
    case 'rotated':
    case 'retried':
      telemetry.tokenRequested('success')
      telemetry.refreshRedeemed(event.ageMs / 1000)
      return
    case 'refused':
      telemetry.tokenRequested('invalid_grant')
      return
    case 'unavailable':
      telemetry.tokenRequested('unavailable')
      return
    case 'replay_detected': {
      const { event: _, ...facts } = event
      telemetry.refreshReplayDetected()
      report('refresh_replay_detected', facts)
      return
    }
    default:
      event satisfies never
  }
}
