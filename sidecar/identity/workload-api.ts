import { isDeepStrictEqual } from 'node:util'
import { type Metadata, type ServerWritableStream, status } from '@grpc/grpc-js'
import type {
  JWTBundlesResponse,
  JWTSVIDRequest,
  SpiffeWorkloadAPIServer,
  X509BundlesResponse,
  X509SVIDResponse,
} from '../../contracts/gen/standard/spiffe/workload/workload.ts'
import { parseSpiffeId } from '../../contracts/spiffe.ts'
import type { Now } from '../ports.ts'
import { codeOf } from './issuer.ts'
import type { JwtSvids } from './jwt-svids.ts'
import type { Trust, TrustState } from './trust.ts'
import { validateJwtSvid } from './validate-jwt.ts'
import type { WorkloadIdentity, WorkloadState } from './workload.ts'

/** Methods of SpiffeWorkloadAPI (SPIFFE_Workload_API sections 5 and 6), for whoever can open the socket: the mount is the credential. */
export type WorkloadApi = Pick<SpiffeWorkloadAPIServer, Method>
type Method = 'fetchX509Svid' | 'fetchX509Bundles' | 'fetchJwtsvid' | 'fetchJwtBundles' | 'validateJwtsvid'

export interface WorkloadService extends WorkloadApi {
  /** Streams that are open. */
  readonly openStreams: () => number
}

export interface WorkloadApiNeeds {
  readonly workload: Pick<WorkloadIdentity, 'state' | 'watch'>
  readonly trust: Pick<TrustState, 'current' | 'watch'>
  readonly jwt: Pick<JwtSvids, 'fetch'>
  readonly wall: Now
  readonly draining: AbortSignal
}

/** A refusal as the caller sees it. */
interface Refusal {
  readonly code: number
  readonly details: string
}

const NO_HEADER: Refusal = {
  code: status.INVALID_ARGUMENT,
  details: 'security header missing: send the metadata "workload.spiffe.io: true" exactly once',
}
const STARTING: Refusal = { code: status.UNAVAILABLE, details: 'no identity yet; come back with back-off' }
const NO_IDENTITY: Refusal = {
  code: status.PERMISSION_DENIED,
  details: 'no identity issued to this workload',
}
const BUSY: Refusal = {
  code: status.UNAVAILABLE,
  details: 'too many streams; close some, come back with back-off',
}
const DRAINING: Refusal = { code: status.UNAVAILABLE, details: 'going away; come back with back-off' }

/** Streams at once, over all connections. */
export const MOST_STREAMS = 256
const AUDIENCES = { count: 8, length: 512 } as const

export function createWorkloadApi(needs: WorkloadApiNeeds): WorkloadService {
  const { workload, trust, jwt, wall, draining } = needs
  const both = (listener: () => void) => {
    const ends = [workload.watch(listener), trust.watch(listener)]
    return () => {
      for (const end of ends) end()
    }
  }
  const { serve, open } = createStreams(draining)
  const bundles = <T>(make: (trust: Trust) => T) => {
    const now = trust.current()
    return now.sequence > 0 ? make(now) : STARTING
  }
  return {
    openStreams: open,
    fetchX509Svid: (call) => serve(call, () => x509Svids(workload.state(), trust.current()), both),
    fetchX509Bundles: (call) => serve(call, () => bundles(x509Bundles), trust.watch),
    fetchJwtBundles: (call) => serve(call, () => bundles(jwtBundles), trust.watch),
    fetchJwtsvid(call, reply) {
      const refusal = notGreeted(call.metadata) ?? wrongQuestion(call.request, workload.state())
      if (refusal) return reply(refusal)
      const { audience, spiffeId } = call.request
      jwt.fetch(audience, spiffeId).then(
        (svids) =>
          reply(null, {
            svids: svids.map(({ spiffeId, token, hint }) => ({ spiffeId, svid: token, hint })),
          }),
        (cause: unknown) => reply(refusalOf(cause)),
      )
    },
    validateJwtsvid(call, reply) {
      const { audience, svid } = call.request
      const refusal =
        notGreeted(call.metadata) ??
        (audience && svid ? undefined : invalid('audience and svid are required')) ??
        bundles(() => undefined)
      if (refusal) return reply(refusal)
      const validated = validateJwtSvid(svid, audience, trust.current(), wall())
      if (validated.ok) reply(null, { spiffeId: validated.spiffeId, claims: { ...validated.claims } })
      else reply(invalid(validated.why))
    },
  }
}

type Serve = <T>(
  call: ServerWritableStream<unknown, T>,
  state: () => T | Refusal,
  watch: (listener: () => void) => () => void,
) => void

// SPIFFE Workload API section 4.3: the first response at once, each one the full state, the next when something has changed. A reader that
// is slow gets the newest state when it is ready for it, not every one in between.
function createStreams(draining: AbortSignal): { readonly serve: Serve; readonly open: () => number } {
  let open = 0
  const serve: Serve = (call, state, watch) => {
    const refusal = notGreeted(call.metadata) ?? (open >= MOST_STREAMS ? BUSY : undefined)
    if (refusal) return end(call, refusal)
    open++
    let full = false
    let behind = false
    let told: unknown
    const tell = () => {
      if (call.cancelled || call.destroyed || call.writableEnded) return
      behind = full
      if (full) return
      const now = state()
      if (isRefusal(now)) return end(call, now)
      // Not every change is one of what this stream tells.
      if (isDeepStrictEqual(now, told)) return
      told = now
      full = !call.write(now)
    }
    const unwatch = watch(tell)
    const drain = () => end(call, DRAINING)
    draining.addEventListener('abort', drain, { once: true })
    call.on('drain', () => {
      full = false
      if (behind) tell()
    })
    const closed = once(() => {
      open--
      unwatch()
      draining.removeEventListener('abort', drain)
    })
    call.on('close', closed)
    call.on('cancelled', closed)
    call.on('error', closed)
    tell()
  }
  return { serve, open: () => open }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (!done) action()
    done = true
  }
}

function end(call: ServerWritableStream<unknown, never>, refusal: Refusal): void {
  call.emit('error', refusal)
}

function isRefusal<T>(value: T | Refusal): value is Refusal {
  return typeof value === 'object' && value !== null && 'code' in value && 'details' in value
}

// SPIFFE Workload Endpoint section 3: a browser or a server-side request forgery cannot set it. SPIRE demands exactly one value.
function notGreeted(metadata: Metadata): Refusal | undefined {
  const values = metadata.get('workload.spiffe.io')
  return values.length === 1 && values[0] === 'true' ? undefined : NO_HEADER
}

function x509Svids(state: WorkloadState, { roots }: Trust): X509SVIDResponse | Refusal {
  if (state.kind === 'waiting') return STARTING
  if (state.kind === 'refused') return NO_IDENTITY
  const key = state.privateKey.export({ type: 'pkcs8', format: 'der' })
  const bundle = Buffer.concat(roots)
  return {
    svids: state.svids.map(({ id, chain, hint }) => ({
      spiffeId: id.uri,
      x509Svid: Buffer.concat(chain),
      x509SvidKey: key,
      bundle,
      hint,
    })),
    crl: [],
    federatedBundles: {},
  }
}

function x509Bundles({ trustDomain, roots }: Trust): X509BundlesResponse {
  return { crl: [], bundles: { [`spiffe://${trustDomain}`]: Buffer.concat(roots) } }
}

function jwtBundles({ trustDomain, jwt }: Trust): JWTBundlesResponse {
  return { bundles: { [`spiffe://${trustDomain}`]: jwt.jwks } }
}

function wrongQuestion({ audience, spiffeId }: JWTSVIDRequest, state: WorkloadState): Refusal | undefined {
  if (audience.length === 0 || audience.includes('')) return invalid('audience is required')
  if (audience.length > AUDIENCES.count || audience.some(({ length }) => length > AUDIENCES.length))
    return invalid(`at most ${AUDIENCES.count} audiences of at most ${AUDIENCES.length} characters`)
  if (spiffeId && !parseSpiffeId(spiffeId)) return invalid('spiffe_id is no SPIFFE ID')
  if (state.kind === 'waiting') return STARTING
  if (state.kind === 'refused') return NO_IDENTITY
  return spiffeId && !state.svids.some(({ id }) => id.uri === spiffeId) ? NO_IDENTITY : undefined
}

function invalid(details: string): Refusal {
  return { code: status.INVALID_ARGUMENT, details }
}

// What the issuer says goes to the log, not to the application.
function refusalOf(cause: unknown): Refusal {
  const code = codeOf(cause)
  if (code === status.PERMISSION_DENIED) return NO_IDENTITY
  if (code === status.INVALID_ARGUMENT) return invalid('the issuer does not accept this audience')
  return { code: status.UNAVAILABLE, details: 'no token can be had now; come back with back-off' }
}
