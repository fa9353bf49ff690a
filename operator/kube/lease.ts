import { formatMicroTime } from '../../contracts/time.ts'
import { Fault } from '../ports.ts'
import { expectValue } from './answer.ts'
import { type LeaseRecord, parseLease } from './lease-object.ts'
import { apiVersionOf, type Place } from './resource.ts'
import { LEASES } from './resources.ts'
import type { KubePorts, Transport } from './transport.ts'
import { create, get, replace } from './verbs.ts'

/** One lease, and who we are in it. */
export interface LeaseOptions {
  readonly namespace: string
  readonly name: string
  /** Differs between any two processes that ever run, restarts of one pod included. */
  readonly identity: string
  readonly durationMs: number
  /** Of one request. */
  readonly timeoutMs: number
}

/** What an attempt to hold the lease came to. */
export type Attempt =
  | { readonly held: true; readonly transitions: number; readonly since: Instant }
  | { readonly held: false; readonly holder: string }

/** The same moment on both clocks. */
export interface Instant {
  readonly monotonic: number
  readonly wall: number
}

/** One contender's view of a lease. Not for concurrent use. */
export interface Contest {
  /** Takes or renews the lease if that is allowed now. Rejects with a Fault when the server did not answer or refused. */
  attempt(signal: AbortSignal): Promise<Attempt>
  /** Gives the lease back, so that another need not wait for its end. */
  release(signal: AbortSignal): Promise<void>
}

/**
 * The protocol of client-go's leader election on a coordination.k8s.io Lease. Every write names the version that was read, so of two
 * contenders one gets a conflict. Another's lease counts as over when its record has not changed for its duration by *our* monotonic
 * clock: clocks of two machines are never compared.
 */
export function createContest(transport: Transport, options: LeaseOptions, ports: KubePorts): Contest {
  const place: Place = { resource: LEASES, namespace: options.namespace }
  const named = { ...place, name: options.name, timeoutMs: options.timeoutMs }
  let known: LeaseRecord | undefined
  let mark = ''
  let changedAt = 0

  const observe = (lease: LeaseRecord): LeaseRecord => {
    const now = `${lease.holder}\n${lease.renewTime}\n${lease.transitions}\n${lease.metadata.uid}`
    if (now !== mark) changedAt = ports.monotonic()
    mark = now
    known = lease
    return lease
  }
  const isTaken = (lease: LeaseRecord): boolean => {
    if (lease.holder === '' || lease.holder === options.identity) return false
    return ports.monotonic() < changedAt + Math.max(lease.durationMs, options.durationMs)
  }
  const read = async (signal: AbortSignal): Promise<LeaseRecord | undefined> => {
    const answer = await get(transport, named, signal)
    if (!answer.ok && answer.refused.status === 404) return undefined
    return observe(parseLease(expectValue(answer, `get lease ${options.name}`)))
  }
  const write = async (lease: LeaseRecord | undefined, signal: AbortSignal): Promise<Attempt> => {
    // Measured before the request leaves: whoever watches us counts from a later moment.
    const since = { monotonic: ports.monotonic(), wall: ports.now() }
    const object = claim(options, lease, since.wall)
    const answer = lease
      ? await replace(transport, named, object, signal)
      : await create(transport, { ...place, timeoutMs: options.timeoutMs }, object, signal)
    if (!answer.ok && answer.refused.status === 409) {
      known = undefined
      return { held: false, holder: lease?.holder ?? '' }
    }
    const { transitions } = observe(parseLease(expectValue(answer, `write lease ${options.name}`)))
    return { held: true, transitions, since }
  }

  return {
    async attempt(signal) {
      const mine = known?.holder === options.identity ? known : undefined
      const renewed = mine ? await write(mine, signal) : undefined
      if (renewed?.held) return renewed
      const lease = await read(signal)
      if (lease && isTaken(lease)) return { held: false, holder: lease.holder }
      return write(lease, signal)
    },
    async release(signal) {
      // What is known may be one aborted request behind.
      const lease = await read(signal)
      known = undefined
      if (lease?.holder !== options.identity) return
      const object = claim({ ...options, identity: '', durationMs: 1_000 }, lease, ports.now())
      const answer = await replace(transport, named, object, signal)
      // A conflict means that it is not ours any more, which is all that was wanted.
      if (!answer.ok && ![404, 409].includes(answer.refused.status))
        expectValue(answer, `release ${options.name}`)
    },
  }
}

function claim(options: LeaseOptions, before: LeaseRecord | undefined, wall: number): object {
  const { namespace, name, identity, durationMs } = options
  const kept = before?.holder === identity
  const renewTime = formatMicroTime(wall)
  const changes = before !== undefined && !kept && identity !== ''
  return {
    apiVersion: apiVersionOf(LEASES),
    kind: LEASES.kind,
    metadata: before ? before.metadata : { namespace, name },
    spec: {
      ...(identity ? { holderIdentity: identity } : {}),
      leaseDurationSeconds: Math.ceil(durationMs / 1_000),
      acquireTime: kept && before.acquireTime ? before.acquireTime : renewTime,
      renewTime,
      leaseTransitions: (before?.transitions ?? 0) + (changes ? 1 : 0),
    },
  }
}

/** Thrown at whoever acts on a term that is over. */
export function lostLease(name: string): Fault {
  return new Fault('lost_lease', `the lease ${name} is not held any more`)
}
