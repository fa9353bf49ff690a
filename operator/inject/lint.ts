import { type AccessPolicy, parseAccessPolicy } from '../../contracts/crd/access-policy.ts'
import type { Outcome } from '../../contracts/crd/definition.ts'
import { type KeyRotation, parseKeyRotation } from '../../contracts/crd/key-rotation.ts'
import { parsePolicyBundle } from '../../contracts/crd/policy-bundle.ts'
import { parseRevocation, type Revocation } from '../../contracts/crd/revocation.ts'
import { parseSidecarProfile, type SidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import { parseTokenIssuer, type TokenIssuer } from '../../contracts/crd/token-issuer.ts'
import { parseTrustDomain } from '../../contracts/crd/trust-domain.ts'
import { parseWorkloadIdentity } from '../../contracts/crd/workload-identity.ts'
import { type Algorithm, algorithmNamed, parseJwks } from '../../contracts/jwks.ts'

/**
 * What a schema with CEL cannot say about our objects: rules that need the clock, other objects or a parser. The CRDs refuse the
 * rest by themselves; the parsers repeat it here for an API server whose CRDs are of an earlier release.
 */

export interface Findings {
  /** Each with field, reason and remedy. */
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

/** What must be known of other objects. */
export interface Known {
  readonly policies: () => readonly Pick<AccessPolicy, 'metadata' | 'spec'>[]
  /** Ids of the keys of a TrustDomain object by use; undefined when there is no such object. */
  readonly keys: (trustDomain: string, use: KeyRotation['spec']['use']) => readonly string[] | undefined
  /** Name of the SidecarProfile that is injected. */
  readonly profile: string
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** RFC 3339 to milliseconds; undefined when it is none. */
  readonly momentOf: (text: string) => number | undefined
}

/** @param before the stored object of an update */
export function lint(kind: string, object: unknown, before: unknown, known: Known): Findings {
  const rule = Object.hasOwn(RULES, kind) ? RULES[kind] : undefined
  return rule ? rule(object, before, known) : NOTHING
}

const NOTHING: Findings = { problems: [], warnings: [] }

type Rule = (object: unknown, before: unknown, known: Known) => Findings

const RULES: Readonly<Record<string, Rule>> = {
  AccessPolicy: parsed(parseAccessPolicy, ofAccessPolicy),
  KeyRotation: parsed(parseKeyRotation, ofKeyRotation),
  PolicyBundle: parsed(parsePolicyBundle, () => NOTHING),
  Revocation: parsed(parseRevocation, ofRevocation),
  SidecarProfile: parsed(parseSidecarProfile, ofSidecarProfile),
  TokenIssuer: parsed(parseTokenIssuer, ofTokenIssuer),
  TrustDomain: parsed(parseTrustDomain, () => NOTHING),
  WorkloadIdentity: parsed(parseWorkloadIdentity, () => NOTHING),
}

function parsed<T>(
  parse: (object: unknown) => Outcome<T>,
  rule: (object: T, before: T | undefined, known: Known) => Findings,
): Rule {
  return (object, before, known) => {
    const [now, then] = [parse(object), before === undefined ? undefined : parse(before)]
    if (!now.ok) return { problems: now.problems, warnings: [] }
    return rule(now.value, then?.ok ? then.value : undefined, known)
  }
}

/** RFC 9700 section 2.3 (row 000-30): a token that two services accept can be replayed by the one at the other. */
function ofAccessPolicy({ metadata, spec }: AccessPolicy, _before: unknown, { policies }: Known): Findings {
  const same = policies().filter(
    (other) =>
      other.spec.audience === spec.audience &&
      !(other.metadata.namespace === metadata.namespace && other.metadata.name === metadata.name),
  )
  const named = same.slice(0, 3).map((other) => `${other.metadata.namespace}/${other.metadata.name}`)
  if (same.length === 0) return NOTHING
  return {
    problems: [],
    warnings: [
      `spec.audience: also that of AccessPolicy ${named.join(', ')}${same.length > 3 ? ' and more' : ''}: each of these workloads can replay at the others the tokens that it receives; give each workload an audience of its own`,
    ],
  }
}

/** Row 000-29 bounds staleness in the schema; what is left is the key set that is written into the object. */
function ofTokenIssuer({ spec }: TokenIssuer, before: TokenIssuer | undefined, known: Known): Findings {
  const tooLong = legacyProblem(spec.legacyTyp?.until, before?.spec.legacyTyp?.until, known)
  const { problems, warnings } = ofInlineKeys(spec)
  return { problems: [...tooLong, ...problems], warnings }
}

// What was given cannot be given for ever: the longest that a migration may take. An object that holds it already can be changed otherwise.
function legacyProblem(
  until: string | undefined,
  before: string | undefined,
  known: Known,
): readonly string[] {
  if (until === undefined || until === before) return []
  const at = known.momentOf(until)
  if (at !== undefined && at - known.now() <= LONGEST_DAYS * DAY_MS) return []
  return [
    `spec.legacyTyp.until: must be at most ${LONGEST_DAYS} days ahead; give a moment when the issuer will have learnt to type its tokens at+jwt, and renew it then if it has not`,
  ]
}

function ofInlineKeys(spec: TokenIssuer['spec']): Findings {
  if (spec.jwks.inline === undefined) return NOTHING
  const allowed = new Set(
    spec.algorithms.map(algorithmNamed).filter((one): one is Algorithm => one !== undefined),
  )
  const set = parseJwks(new TextEncoder().encode(spec.jwks.inline), allowed)
  if (!set.ok) return { problems: [`spec.jwks.inline: ${set.why}`], warnings: [] }
  const refused = set.refused.map(
    ({ kid, why }) => `spec.jwks.inline: the key "${kid}" cannot be used: ${why}; correct it or take it out`,
  )
  if (set.keys.length > 0) return { problems: [], warnings: refused }
  const none = 'spec.jwks.inline: no key in it can be used, so every token would be denied'
  return { problems: refused.length > 0 ? refused : [`${none}; give at least one public key`], warnings: [] }
}

const DAY_MS = 86_400_000
const LONGEST_DAYS = 400

function ofRevocation({ spec }: Revocation, before: Revocation | undefined, known: Known): Findings {
  const [at, now] = [known.momentOf(spec.expiresAt), known.now()]
  const problems: string[] = []
  // An object that has expired in the meantime can still be labelled, or be rid of a finalizer.
  if (spec.expiresAt === before?.spec.expiresAt) return NOTHING
  if (at === undefined) problems.push('spec.expiresAt: is no moment; write it like 2030-01-31T12:00:00Z')
  else if (at <= now)
    problems.push('spec.expiresAt: has passed already, so nothing would be denied; give a later moment')
  else if (at - now > LONGEST_DAYS * DAY_MS)
    problems.push(
      `spec.expiresAt: more than ${LONGEST_DAYS} days ahead; give a moment when the last token concerned has expired, at most ${LONGEST_DAYS} days from now`,
    )
  const ahead = spec.entries.flatMap(({ issuedBefore }, index) => {
    const moment = issuedBefore === undefined ? undefined : known.momentOf(issuedBefore)
    const field = `spec.entries[${index}].issuedBefore`
    return moment !== undefined && moment > now + DAY_MS
      ? [
          `${field}: more than a day ahead: tokens issued until then are denied too; give the present moment if new logins shall work`,
        ]
      : []
  })
  return { problems, warnings: ahead.slice(0, 4) }
}

function ofKeyRotation({ spec }: KeyRotation, before: unknown, known: Known): Findings {
  if (before !== undefined) return NOTHING
  const keys = known.keys(spec.trustDomain, spec.use)
  if (!keys)
    return {
      problems: [
        `spec.trustDomain: there is no TrustDomain "${spec.trustDomain}"; name one that kubectl get trustdomains shows`,
      ],
      warnings: [],
    }
  if (spec.keyId === undefined || keys.includes(spec.keyId)) return NOTHING
  const there = keys.length > 0 ? `its keys for ${spec.use} are ${keys.join(', ')}` : 'it has none yet'
  return {
    problems: [`spec.keyId: TrustDomain "${spec.trustDomain}" has no key "${spec.keyId}"; ${there}`],
    warnings: [],
  }
}

function ofSidecarProfile({ metadata, spec }: SidecarProfile, _before: unknown, known: Known): Findings {
  const small = Number.parseInt(spec.resources.memoryLimit, 10)
  const warnings = [
    ...(metadata.name === known.profile
      ? []
      : [`metadata.name: only the SidecarProfile "${known.profile}" is injected; this one has no effect`]),
    ...(spec.resources.memoryLimit.endsWith('Mi') && small < LEAST_MEMORY_MI
      ? [
          `spec.resources.memoryLimit: less than ${LEAST_MEMORY_MI}Mi, which the sidecar needs to load its rules; it may be killed while it starts (its application then waits)`,
        ]
      : []),
  ]
  return { problems: [], warnings }
}

const LEAST_MEMORY_MI = 96
