import type { Serving } from './config.ts'
import type { FormatTime, Now, Random, Report, Sleep } from './ports.ts'
import type { LineLog } from './record/log.ts'
import type { TokenTelemetry } from './record/token-metrics.ts'
import { createVouchRecorder } from './record/vouch-record.ts'
import { createVerifyToken, type VerifyTokenCall, type VerifyTokenNeeds } from './serve/verify-token.ts'
import type { Bind } from './token/binding.ts'
import { type RememberingProve, rememberTokens } from './token/memory.ts'
import { createShadow } from './token/shadow.ts'
import { createSingleUse } from './token/single-use.ts'
import { createProve } from './token/verify.ts'
import { createVouch, type VouchSteps } from './token/vouch.ts'
import type { KeyAges } from './trust/key-ages.ts'
import type { Keys } from './trust/keys.ts'
import type { Replay } from './trust/replay.ts'

interface ProverNeeds {
  readonly random: Random
  readonly sleep: Sleep
  readonly life: AbortSignal
  /** 32 random bytes of this process. */
  readonly salt: Uint8Array
  readonly report: Report
}

/** Verification with a memory, and who watches that memory. */
export function createProver(
  keys: Keys,
  telemetry: TokenTelemetry,
  { tokenCacheEntries: entries, tokenCacheBytes: bytes }: Serving['limits'],
  { random, sleep, life, salt, report }: ProverNeeds,
): RememberingProve {
  const memory = rememberTokens(createProve(keys.find), {
    limits: { entries, bytes },
    salt,
    counted: telemetry.cacheLookup,
    hit: (inquiry, proof) => shadow(inquiry, proof),
  })
  const shadow = createShadow({
    random,
    sleep,
    lifetime: life,
    diverged(issuer) {
      memory.disable()
      telemetry.cacheDiverged()
      report('token_cache_divergence', { issuer, note: 'token caches are off until the next start' })
    },
  })
  return memory
}

/** Counts what those who issue tokens are to be told of, once a question: several audiences, and keys that nobody could know yet. */
export function noticing(
  bind: Bind,
  { multiAudience }: Pick<TokenTelemetry, 'multiAudience'>,
  { used }: Pick<KeyAges, 'used'>,
): Bind {
  return (token, presented, asked) => {
    used(token.issuer.issuer, token.kid)
    const { aud } = token.claims
    if (Array.isArray(aud) && aud.length > 1) multiAudience()
    return bind(token, presented, asked)
  }
}

interface VouchingNeeds {
  readonly wall: Now
  readonly format: FormatTime
  readonly deadlineMs: number
  /** The memory of all replicas for what is used once, when there is one. */
  readonly once: Replay | undefined
}

/** VerifyToken, from the bytes of a call to those of its answer. */
export function createVouching(
  parts: Omit<VouchSteps, 'once'> & Omit<VerifyTokenNeeds, 'vouch' | 'recordVouched'>,
  telemetry: TokenTelemetry,
  log: LineLog | undefined,
  { wall, format, deadlineMs, once }: VouchingNeeds,
): VerifyTokenCall {
  const vouch = createVouch({ ...parts, once: createSingleUse(once) })
  const recordVouched = createVouchRecorder(telemetry, log, wall, format)
  return createVerifyToken({ ...parts, vouch, recordVouched }, deadlineMs)
}
