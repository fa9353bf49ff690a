import type { KeyObject } from 'node:crypto'
import { status } from '@grpc/grpc-js'
import { createCsr } from '../../contracts/csr.ts'
import type { IssueWorkloadResponse } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { Now, Random, Report, Sleep } from '../ports.ts'
import type { ControlIdentity } from './control.ts'
import { acceptSvid, type Credential, newKey, usable } from './credential.ts'
import { codeOf, type Issuer, problemOf } from './issuer.ts'
import { createLive } from './live.ts'
import { createRenewer, renewalMoment } from './renewal.ts'
import type { Trust, TrustState } from './trust.ts'

/** The application's X509-SVIDs, as far as they are known now. */
export type WorkloadState =
  /** Not asked for yet, or lapsed while the issuer could not be reached. */
  | { readonly kind: 'waiting' }
  /** The operator says that this workload is entitled to none. */
  | { readonly kind: 'refused' }
  /** At least one; the first is the default. All have the same key. */
  | { readonly kind: 'held'; readonly svids: readonly Credential[]; readonly privateKey: KeyObject }

export interface WorkloadIdentity {
  state(): WorkloadState
  problem(): string
  /** Milliseconds until the first SVID expires; undefined while there is none. */
  expiresInMs(): number | undefined
  watch(listener: () => void): () => void
  run(signal: AbortSignal): Promise<void>
}

export interface WorkloadNeeds {
  readonly issuer: Issuer
  readonly control: ControlIdentity
  readonly trust: TrustState
  readonly wall: Now
  readonly sleep: Sleep
  readonly random: Random
  readonly report: Report
}

interface Held {
  readonly state: Extract<WorkloadState, { kind: 'held' }>
  readonly notAfterMs: number
  readonly renewAtMs: number
}

const UNTIL_TOLD_MS = 30_000
const TOLD_LATELY_MS = 60_000

export function createWorkload(needs: WorkloadNeeds): WorkloadIdentity {
  const { issuer, control, trust, wall, random, report } = needs
  const live = createLive<Held | 'waiting' | 'refused'>('waiting')
  let problem = 'not asked for yet'

  const held = (): Held | undefined => {
    const now = live.get()
    return typeof now === 'object' ? now : undefined
  }
  const renew = async (signal: AbortSignal): Promise<void> => {
    const own = control.current()
    if (!own) throw new Error('the control identity has lapsed')
    const privateKey = newKey()
    const answer = await issuer.workload({ csr: createCsr(privateKey) }, own, signal)
    const offered = answer.bundle ? trust.offer(answer.bundle) : undefined
    if (offered?.ok === false) throw new Error(`the issuer answered with ${offered.problem}`)
    const svids = acceptAll(answer, privateKey, trust.current(), wall())
    if (typeof svids === 'string') throw new Error(svids)
    const notAfterMs = Math.min(...svids.map((one) => one.notAfterMs))
    problem = ''
    report('svid_issued', {
      kind: 'workload',
      spiffeIds: svids.map(({ id }) => id.uri),
      expiresInMs: Math.round(notAfterMs - wall()),
    })
    const state = { kind: 'held', svids, privateKey } as const
    live.set({ state, notAfterMs, renewAtMs: renewalMoment(notAfterMs, wall, random) })
  }
  const dueInMs = (): number => {
    // Only the control identity can ask; when it comes, this is looked at again.
    if (!control.current()) return UNTIL_TOLD_MS
    const now = held()
    // A root that left the bundle took its SVIDs with it: another one at once, not at half-life.
    return now?.state.svids.every((one) => usable(one, trust.current(), wall())) ? now.renewAtMs - wall() : 0
  }
  const failed = (cause: unknown, retryMs: number): void => {
    problem = problemOf(cause)
    report('svid_failed', { kind: 'workload', problem, retryMs: Math.round(retryMs) })
    if (codeOf(cause) !== status.PERMISSION_DENIED) return
    // An operator whose state was restored may have forgotten our control SVID; a renewal tells it again. Only then a refusal is one.
    if (control.ageMs() < TOLD_LATELY_MS) live.set('refused')
    else control.renewNow()
  }
  const renewer = createRenewer({ renew, dueInMs, failed }, needs)
  trust.watch(renewer.nudge)
  control.watch(renewer.nudge)
  return {
    problem: () => problem,
    watch: live.watch,
    expiresInMs: () => {
      const now = held()
      return now && now.notAfterMs - wall()
    },
    state: () => {
      const now = live.get()
      if (typeof now !== 'object') return { kind: now }
      return now.notAfterMs > wall() ? now.state : { kind: 'waiting' }
    },
    run: (signal) =>
      Promise.all([renewer.run(signal), tellLapses(live, needs, signal)]).then(() => undefined),
  }
}

// Nothing happens when an SVID lapses, and yet whoever watches must be told: what they hold is worth nothing any more.
async function tellLapses(
  live: { get(): Held | 'waiting' | 'refused'; set(value: 'waiting'): void },
  { wall, sleep, report }: WorkloadNeeds,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const now = live.get()
    const leftMs = typeof now === 'object' ? now.notAfterMs - wall() : Number.POSITIVE_INFINITY
    if (leftMs <= 0) {
      report('svid_lapsed', { kind: 'workload' })
      live.set('waiting')
    }
    await sleep(Math.min(Math.max(leftMs, 100), 1_000), signal).catch(() => undefined)
  }
}

/** SPIFFE Workload API section 8: a hint that is not empty is unique within a response. */
function acceptAll(
  { svids }: IssueWorkloadResponse,
  privateKey: KeyObject,
  trust: Trust,
  at: number,
): readonly Credential[] | string {
  if (svids.length === 0) return 'the issuer answered without an SVID'
  if (svids.length > MOST_SVIDS) return `the issuer answered with more than ${MOST_SVIDS} SVIDs`
  const taken: Credential[] = []
  for (const svid of svids) {
    const accepted = acceptSvid(svid, privateKey, trust, at)
    if (!accepted.ok) return accepted.problem
    const { credential } = accepted
    // What names a sidecar or the operator is never handed to an application.
    if (credential.id.path.startsWith('/portcullis/'))
      return `the issued SVID is for ${credential.id.uri}, which no workload can be`
    if (credential.hint && taken.some(({ hint }) => hint === credential.hint))
      return 'the issuer answered with the same hint twice'
    taken.push(credential)
  }
  return taken
}

const MOST_SVIDS = 16
