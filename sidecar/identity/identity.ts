import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { ClientCredential, Now, Random, Report, Sleep } from '../ports.ts'
import type { Moment } from '../request.ts'
import type { IdentitySettings } from '../settings.ts'
import { createAnchorsFile } from './anchors-file.ts'
import { createClientCredential } from './client-credential.ts'
import { createControl } from './control.ts'
import { createFeedChannel, type FeedStream } from './feed-channel.ts'
import { createIssuer } from './issuer.ts'
import { createJwtSvids } from './jwt-svids.ts'
import { createTrustState, type Offered } from './trust.ts'
import { type ValidatedJwt, validateJwtSvid } from './validate-jwt.ts'
import { createWorkload } from './workload.ts'
import { createWorkloadApi, type WorkloadApi } from './workload-api.ts'

export interface IdentityNeeds {
  readonly wall: Now
  readonly sleep: Sleep
  readonly random: Random
  readonly report: Report
  readonly lifetime: AbortSignal
  readonly draining: AbortSignal
}

/** All that the rest of the program may know of identity. */
export interface Identity {
  /** Asks for identities and keeps them renewed until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** A stream to the operator's feed as this pod. */
  readonly open: (signal: AbortSignal) => Promise<FeedStream>
  /** Takes a trust bundle that came by the feed. An older one than the one in effect changes nothing and is fine. */
  readonly trust: (bundle: TrustBundle) => Offered
  readonly workloadApi: WorkloadApi
  /** What the workload shows to an authorization server: the only key that leaves this room. `undefined` while there is none. */
  readonly client: () => ClientCredential | undefined
  /** A JWT-SVID of the workload for this audience. Rejects with an Error that has a gRPC `code`. */
  readonly jwtFor: (audience: string) => Promise<string>
  /** A JWT-SVID of our trust domain, for one audience. */
  readonly validate: (token: string, audience: string, at: Moment) => ValidatedJwt
  /** What has not come yet, for readiness; empty for ever once the application could have been given an identity. */
  notReadyBecause(): readonly string[]
  /** What is wrong but does not make anything unready. */
  remarks(): readonly string[]
  readonly facts: () => IdentityFacts
  /** Streams of the Workload API that are open. */
  readonly workloadStreams: () => number
}

export interface IdentityFacts {
  readonly trustSequence: number
  /** Seconds; 0 when there is none. */
  readonly controlExpiresInS: number
  readonly workloadExpiresInS: number
}

/** Two identities: the pod's control identity, for the operator only, and the workload's, for the application. */
export function createIdentity(settings: IdentitySettings, needs: IdentityNeeds): Identity {
  const { wall } = needs
  const trust = createTrustState(settings)
  const anchors = createAnchorsFile(settings, trust, needs.report)
  const issuer = createIssuer(settings, { trust: trust.current, wall })
  const control = createControl(settings, { ...needs, issuer, trust })
  const workload = createWorkload({ ...needs, issuer, control, trust })
  const jwt = createJwtSvids({ issuer, control, trust, wall, lifetime: needs.lifetime })
  const client = createClientCredential(workload)
  const channel = createFeedChannel(settings, { ...needs, control, trust })
  let complete = false
  workload.watch(() => {
    complete ||= workload.state().kind === 'held'
  })

  const missing = (): readonly string[] => [
    ...(control.current() ? [] : [`identity of the sidecar: ${control.problem() || 'lapsed'}`]),
    ...(workload.state().kind === 'held'
      ? []
      : [`identity of the workload: ${workload.problem() || 'lapsed'}`]),
  ]
  const late = (): readonly string[] => [
    ...(control.current() && control.problem() ? [`renewal for the sidecar: ${control.problem()}`] : []),
    ...(workload.state().kind === 'held' && workload.problem()
      ? [`renewal for the workload: ${workload.problem()}`]
      : []),
  ]
  const untrusting = (): readonly string[] => [
    ...(anchors.problem() ? [`trust anchors: ${anchors.problem()}`] : []),
    ...(trust.held() > trust.current().sequence
      ? [`trust bundle: ${trust.held()} is awaited, of which this pod has kept the roots, or a newer one`]
      : []),
  ]
  const workloadApi = createWorkloadApi({ ...needs, workload, trust, jwt })
  return {
    run: async (signal) => {
      // Before anything is verified.
      await anchors.restore()
      await Promise.all([control.run(signal), workload.run(signal), channel.run(signal)])
    },
    open: channel.open,
    trust: trust.offer,
    workloadApi,
    client,
    jwtFor: async (audience) => {
      const [svid] = await jwt.fetch([audience], client()?.spiffeId ?? '')
      if (!svid) throw new Error('the issuer gave no token')
      return svid.token
    },
    validate: (token, audience, at) => validateJwtSvid(token, audience, trust.current(), at),
    notReadyBecause: () => (complete ? [] : missing()),
    remarks: () => [...(complete ? [...missing(), ...late()] : []), ...untrusting()],
    workloadStreams: workloadApi.openStreams,
    facts: () => ({
      trustSequence: trust.current().sequence,
      controlExpiresInS: seconds((control.current()?.notAfterMs ?? wall()) - wall()),
      workloadExpiresInS: seconds(workload.expiresInMs() ?? 0),
    }),
  }
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000))
}
