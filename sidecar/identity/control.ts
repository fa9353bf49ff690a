import { createCsr } from '../../contracts/csr.ts'
import type { Now, Random, Report, Sleep } from '../ports.ts'
import type { IdentitySettings } from '../settings.ts'
import { acceptSvid, type Credential, newKey, usable } from './credential.ts'
import { type Issuer, problemOf } from './issuer.ts'
import { createLive } from './live.ts'
import { createRenewer, renewalMoment } from './renewal.ts'
import { readPodToken } from './token-file.ts'
import type { TrustState } from './trust.ts'

/** Whom this pod is at the operator. It is never given to the application: whoever has it speaks for the sidecar. */
export interface ControlIdentity {
  /** What can be used now. */
  current(): Credential | undefined
  /** Why there is none, or why it was not renewed; empty when all is well. */
  problem(): string
  watch(listener: () => void): () => void
  /** Milliseconds since it was issued; without end when there is none. */
  ageMs(): number
  /** Asks for another one at once: the operator may not know this one any more. */
  renewNow(): void
  run(signal: AbortSignal): Promise<void>
}

export interface ControlNeeds {
  readonly issuer: Issuer
  readonly trust: TrustState
  readonly wall: Now
  readonly sleep: Sleep
  readonly random: Random
  readonly report: Report
}

interface Held {
  readonly credential: Credential
  readonly issuedAtMs: number
  readonly renewAtMs: number
}

export function createControl(settings: IdentitySettings, needs: ControlNeeds): ControlIdentity {
  const { issuer, trust, wall, random, report } = needs
  const live = createLive<Held | undefined>(undefined)
  // The issuer pins a pod to the key it came with first, and to its successors. Whoever has to begin again must come with the last one
  // that was certified: it is pinned whether or not the answer to a later renewal was lost.
  let pinnedKey = newKey()
  let problem = 'not asked for yet'
  let disowned = false
  let wanted = false

  const current = (): Credential | undefined => {
    const credential = live.get()?.credential
    return credential && usable(credential, trust.current(), wall()) ? credential : undefined
  }
  const renew = async (signal: AbortSignal): Promise<void> => {
    // A lapsed SVID, one whose root was revoked, or one that has just led nowhere: begin again with the token alone.
    const own = disowned ? undefined : current()
    const privateKey = own ? newKey() : pinnedKey
    const token = await readPodToken(settings.tokenFile, settings.audience)
    const answer = await issuer.control({ csr: createCsr(privateKey), token }, own, signal).catch((cause) => {
      // It may be the SVID that is not taken any more, and an issuer that does not take it may end the connection without a word.
      disowned = own !== undefined
      throw cause
    })
    if (answer.bundle) requireTaken(trust, answer.bundle)
    if (!answer.svid) throw new Error('the issuer answered without an SVID')
    const accepted = acceptSvid(answer.svid, privateKey, trust.current(), wall())
    if (!accepted.ok) throw new Error(accepted.problem)
    const { credential } = accepted
    const expected = `/portcullis/pod/${settings.pod.uid}`
    if (credential.id.path !== expected)
      throw new Error(`the issued SVID is for ${credential.id.uri}, not for this pod (${expected})`)
    pinnedKey = privateKey
    disowned = false
    problem = ''
    report('svid_issued', {
      kind: 'control',
      spiffeId: credential.id.uri,
      bootstrap: !own,
      expiresInMs: Math.round(credential.notAfterMs - wall()),
    })
    wanted = false
    live.set({
      credential,
      issuedAtMs: wall(),
      renewAtMs: renewalMoment(credential.notAfterMs, wall, random),
    })
  }
  const renewer = createRenewer(
    {
      renew,
      dueInMs: () => (current() && !wanted ? (live.get()?.renewAtMs ?? 0) - wall() : 0),
      failed: (cause, retryMs) => {
        problem = problemOf(cause)
        report('svid_failed', { kind: 'control', problem, retryMs: Math.round(retryMs) })
      },
    },
    needs,
  )
  trust.watch(renewer.nudge)
  return {
    current,
    problem: () => problem,
    watch: live.watch,
    run: renewer.run,
    ageMs: () => wall() - (live.get()?.issuedAtMs ?? Number.NEGATIVE_INFINITY),
    renewNow() {
      wanted = true
      renewer.nudge()
    },
  }
}

function requireTaken(trust: TrustState, bundle: Parameters<TrustState['offer']>[0]): void {
  const offered = trust.offer(bundle)
  if (!offered.ok) throw new Error(`the issuer answered with ${offered.problem}`)
}
