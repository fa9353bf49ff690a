import { type handleUnaryCall, type ServerUnaryCall, type ServiceError, status } from '@grpc/grpc-js'
import {
  type FamilySubject,
  RefusalReason as Reasons,
  RefreshFamiliesService,
  type RegisterRequest,
  type RegisterResponse,
  type RevokeRequest,
  type RevokeResponse,
  type RotateRequest,
  type RotateResponse,
} from '../../contracts/gen/portcullis/tokens/v1/refresh_families.ts'
import {
  type AccessTokens,
  type Families,
  MOST_ACCESS_TOKEN_MS,
  MOST_LIFE_MS,
  type Registration,
  type FamilySubject as Subject,
} from '../grants/families.ts'
import { FINGERPRINT_BYTES } from '../grants/family-records.ts'
import { MOST_GRACE_MS, type RefusalReason, type Rotation, type RotationOutcome } from '../grants/rotation.ts'
import type { CredentialService } from './credentials.ts'

/** A refusal of the question itself. `why` is fixed text with the name of a field, never anything that was sent. */
class Unanswerable {
  readonly code: status
  readonly why: string
  constructor(code: status, why: string) {
    this.code = code
    this.why = why
  }
}

/** How long one question may take, milliseconds. */
const LIMIT_MS = 5_000

/** The service of refresh_families.proto over the guard's own terms. */
export function refreshFamiliesService(
  families: Families,
  wall: () => number,
  life: AbortSignal,
): CredentialService {
  const register = async (
    asked: RegisterRequest,
    signal: AbortSignal,
  ): Promise<RegisterResponse | Unanswerable> => {
    const registration = registrationOf(asked, wall())
    if (registration instanceof Unanswerable) return registration
    const created = await families.register(registration, signal)
    return created === 'created' ? {} : REGISTRATION[created]
  }
  const rotate = async (
    asked: RotateRequest,
    signal: AbortSignal,
  ): Promise<RotateResponse | Unanswerable> => {
    const rotation = rotationOf(asked)
    return rotation instanceof Unanswerable ? rotation : answerTo(await families.rotate(rotation, signal))
  }
  const revoke = async (
    asked: RevokeRequest,
    signal: AbortSignal,
  ): Promise<RevokeResponse | Unanswerable> => {
    const access = accessOf(asked.accessTokens)
    const problem = familyProblem(asked.family) ?? (access instanceof Unanswerable ? access : undefined)
    if (problem || access instanceof Unanswerable) return problem ?? INVALID('access_tokens')
    return (await families.revoke(asked.family, access, signal)) ?? UNAVAILABLE
  }
  return {
    definition: RefreshFamiliesService,
    implementation: {
      register: answering(register, life),
      rotate: answering(rotate, life),
      revoke: answering(revoke, life),
    },
  }
}

const INVALID = (field: string) =>
  new Unanswerable(status.INVALID_ARGUMENT, `${field}: missing, or outside its limits`)
const UNAVAILABLE = new Unanswerable(status.UNAVAILABLE, 'nobody can tell now')
const REGISTRATION = {
  exists: new Unanswerable(status.ALREADY_EXISTS, 'family: known already'),
  full: new Unanswerable(status.RESOURCE_EXHAUSTED, 'no room for another family'),
  unavailable: UNAVAILABLE,
} as const

function answering<Asked, Answer>(
  answer: (asked: Asked, signal: AbortSignal) => Promise<Answer | Unanswerable>,
  life: AbortSignal,
): handleUnaryCall<Asked, Answer> {
  return (call, callback) => {
    const given = (result: Answer | Unanswerable) =>
      result instanceof Unanswerable ? callback(errorOf(result)) : callback(null, result)
    // A fault of ours says nothing about itself outside.
    const broke = () => callback(errorOf(new Unanswerable(status.INTERNAL, 'internal')))
    answer(call.request, signalOf(call, life)).then(given, broke)
  }
}

function signalOf<Asked, Answer>(call: ServerUnaryCall<Asked, Answer>, life: AbortSignal): AbortSignal {
  const gone = new AbortController()
  call.once('cancelled', () => gone.abort())
  return AbortSignal.any([life, gone.signal, AbortSignal.timeout(LIMIT_MS)])
}

function errorOf({ code, why }: Unanswerable): Pick<ServiceError, 'code' | 'details'> {
  return { code, details: why }
}

const TOKEN_BYTES = [22, 4096] as const
const MOST_BINDING_BYTES = 128
const MOST_TEXT = { issuer: 512, subject: 256, sessionId: 256, clientId: 256 } as const

function familyProblem(family: string): Unanswerable | undefined {
  const bytes = Buffer.byteLength(family)
  return bytes >= 1 && bytes <= 256 ? undefined : INVALID('family')
}

function soundToken(token: Uint8Array): boolean {
  return token.length >= TOKEN_BYTES[0] && token.length <= TOKEN_BYTES[1]
}

function registrationOf(asked: RegisterRequest, at: number): Registration | Unanswerable {
  const { family, token, binding, expiresAtMs, accessTokenLifetimeMs, clientFingerprint: fingerprint } = asked
  const subject = subjectOf(asked.subject)
  if (!subject) return INVALID('subject')
  const checks = [
    [soundToken(token), 'token'],
    [binding.length <= MOST_BINDING_BYTES, 'binding'],
    [expiresAtMs > at && expiresAtMs <= at + MOST_LIFE_MS, 'expires_at_ms'],
    [accessTokenLifetimeMs > 0 && accessTokenLifetimeMs <= MOST_ACCESS_TOKEN_MS, 'access_token_lifetime_ms'],
    [fingerprint.length <= FINGERPRINT_BYTES, 'client_fingerprint'],
  ] as const
  const wrong = checks.find(([sound]) => !sound)
  const problem = familyProblem(family) ?? (wrong && INVALID(wrong[1]))
  return problem ?? { family, token, subject, binding, expiresAtMs, accessTokenLifetimeMs, fingerprint }
}

function rotationOf(asked: RotateRequest): Rotation | Unanswerable {
  const { family, presented, next, binding, graceMs, clientFingerprint: fingerprint } = asked
  const checks = [
    // What a client sent may be anything: it is then unknown, and no fault of the caller's.
    [presented.length >= 1 && presented.length <= TOKEN_BYTES[1], 'presented'],
    [soundToken(next) && !next.equals(presented), 'next'],
    [binding.length <= MOST_BINDING_BYTES, 'binding'],
    [graceMs <= MOST_GRACE_MS, 'grace_ms'],
    [fingerprint.length <= FINGERPRINT_BYTES, 'client_fingerprint'],
  ] as const
  const wrong = checks.find(([sound]) => !sound)
  const problem = familyProblem(family) ?? (wrong && INVALID(wrong[1]))
  return problem ?? { family, presented, next, binding, graceMs, fingerprint }
}

function accessOf(asked: RevokeRequest['accessTokens']): AccessTokens | Unanswerable {
  if (!asked) return undefined
  if (asked.$case === 'token') return { token: asked.token }
  return subjectOf(asked.subject) ?? INVALID('subject')
}

function subjectOf(asked: FamilySubject | undefined): Subject | undefined {
  if (!asked?.issuer || !asked.subject || !asked.clientId) return undefined
  const { issuer, subject, sessionId, clientId } = asked
  const given = { issuer, subject, sessionId, clientId }
  const fits = Object.entries(MOST_TEXT).every(
    ([name, most]) => given[name as keyof typeof given].length <= most,
  )
  return fits ? given : undefined
}

const REASONS = {
  replay: Reasons.REFUSAL_REASON_REPLAY,
  unknown: Reasons.REFUSAL_REASON_UNKNOWN,
  expired: Reasons.REFUSAL_REASON_EXPIRED,
  revoked: Reasons.REFUSAL_REASON_REVOKED,
  reauthenticate: Reasons.REFUSAL_REASON_REAUTHENTICATE,
  binding: Reasons.REFUSAL_REASON_BINDING,
} as const satisfies Record<RefusalReason, Reasons>

function answerTo(outcome: RotationOutcome): RotateResponse | Unanswerable {
  switch (outcome.outcome) {
    case 'rotated': {
      const { sequence, facts } = outcome
      const rotated = { sequence, subject: wireSubject(facts), expiresAtMs: facts.expiresAtMs }
      return { outcome: { $case: 'rotated', rotated } }
    }
    case 'retry': {
      const { successor, facts } = outcome
      const retry = { successor, subject: wireSubject(facts), expiresAtMs: facts.expiresAtMs }
      return { outcome: { $case: 'retry', retry } }
    }
    case 'refused':
      return { outcome: { $case: 'refused', refused: { reason: REASONS[outcome.reason] } } }
    case 'unavailable':
      return UNAVAILABLE
    default:
      return outcome satisfies never
  }
}

function wireSubject({ issuer, subject, sessionId, clientId }: Subject): FamilySubject {
  return { issuer, subject, sessionId, clientId }
}
