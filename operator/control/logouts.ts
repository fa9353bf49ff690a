import { durationMs } from '../../contracts/crd/duration.ts'
import { algorithmNamed, type ParsedJwks, parseJwks, type VerificationKey } from '../../contracts/jwks.ts'
import type { LogoutIssuer } from '../logout/logout-token.ts'
import type { LogoutNeeds } from '../logout/receiver.ts'
import type { Clocks } from '../ports.ts'
import type { RefreshKeys } from '../publish/refresh.ts'
import { MADE_LIMITS } from '../state/revocation-made.ts'
import type { View, Views } from './view.ts'

/** What the receiver of logout tokens asks of this replica: TokenIssuers as they are now, and their keys. */
export type LogoutAnswers = Pick<LogoutNeeds, 'issuer' | 'key'>

const FETCH_MS = 3_000
/** How long a key set that another replica fetched may take to be here. */
const PATIENCE_MS = 1_000
const LOOK_MS = 50

export function createLogoutAnswers(
  views: Views,
  refresh: RefreshKeys,
  { now, sleep, monotonic }: Clocks,
): LogoutAnswers {
  const known = new WeakMap<Uint8Array, ParsedJwks>()
  const keysOf = (key: string): readonly VerificationKey[] | undefined => {
    const view = views.current()
    const spec = view.cluster.tokenIssuers.get(key)?.spec
    if (!spec) return undefined
    const document = documentOf(view, key, now())
    if (!document) return undefined
    const parsed = known.get(document) ?? parseJwks(document, algorithmsOf(spec.algorithms))
    known.set(document, parsed)
    return parsed.ok ? parsed.keys : undefined
  }
  const find = (key: string, kid: string) => keysOf(key)?.find((one) => one.kid === kid)
  return {
    issuer: (namespace, name) => issuerOf(views.current(), `${namespace}/${name}`),
    async key(source, kid, signal) {
      if (isRevoked(views.current(), source, kid, now())) return 'gone'
      const here = find(source, kid)
      if (here) return here
      const within = AbortSignal.any([signal, AbortSignal.timeout(FETCH_MS)])
      const { fetched } = await refresh(source, kid, within).catch(() => ({ fetched: false }))
      const until = monotonic() + PATIENCE_MS
      for (;;) {
        const key = find(source, kid)
        if (key) return key
        if (monotonic() >= until || !fetched) break
        await sleep(LOOK_MS, signal)
      }
      return fetched && keysOf(source) ? 'gone' : 'unavailable'
    },
  }
}

function issuerOf({ cluster, projections }: View, key: string): LogoutIssuer | undefined {
  const spec = cluster.tokenIssuers.get(key)?.spec
  if (!spec?.logout) return undefined
  const longest = [...projections.byKey.values()]
    .filter(({ named }) => named.get(spec.issuer) === key)
    .map(({ snapshot }) => (snapshot.profile?.maxTokenLifetimeS ?? 0) * 1000)
  const most = MADE_LIMITS.lifetimeMs
  return {
    source: key,
    issuer: spec.issuer,
    algorithms: algorithmsOf(spec.algorithms),
    skewMs: durationMs(spec.clockSkew),
    clientIds: spec.logout.clientIds,
    // What is withheld now may be served again, under a longer life than any that is known.
    lifetimeMs: longest.length > 0 && !longest.includes(0) ? Math.min(most, Math.max(...longest)) : most,
  }
}

function algorithmsOf(names: readonly string[]) {
  return new Set(names.flatMap((name) => algorithmNamed(name) ?? []))
}

function documentOf({ cluster }: View, key: string, at: number): Uint8Array | undefined {
  const spec = cluster.tokenIssuers.get(key)?.spec
  if (spec?.jwks.inline !== undefined) return inlineOf(spec.jwks as { readonly inline: string })
  const fetched = cluster.keySets.get(key)
  return fetched && at < fetched.notAfterMs ? fetched.jwks : undefined
}

const inlines = new WeakMap<object, Buffer>()
function inlineOf(jwks: { readonly inline: string }): Buffer {
  const known = inlines.get(jwks)
  if (known) return known
  const document = Buffer.from(jwks.inline)
  inlines.set(jwks, document)
  return document
}

// A key that was taken away signs no logout either: whoever has it could end everybody's sessions.
function isRevoked({ cluster, log }: View, source: string, kid: string, at: number): boolean {
  if (cluster.tokenIssuers.get(source)?.spec.revokedKids?.includes(kid)) return true
  if (typeof log === 'string') return false
  for (const { entry } of log.live.values()) {
    const { subject } = entry
    if (subject?.$case === 'kid' && subject.kid === kid && entry.source === source && entry.expiresAtMs > at)
      return true
  }
  return false
}
