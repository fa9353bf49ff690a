import type { SidecarProfile, SidecarProfileStatus } from '../../contracts/crd/sidecar-profile.ts'
import { bad, good, judge } from './judgement.ts'

/** Running pods against what their labels ask for. */
export interface Audited {
  readonly pods: { readonly injected: number; readonly missing: number; readonly outdated: number }
  readonly missingSample: readonly string[]
}

export type Injection = NonNullable<SidecarProfileStatus['injection']>

/** What the status of a SidecarProfile is to say; `injection` is what the guard policy compares pods with. */
export function planSidecarProfile(
  profile: SidecarProfile,
  audited: Audited,
  injection: Injection | undefined,
  at: number,
): SidecarProfileStatus {
  const { generation } = profile.metadata
  const { missing, outdated } = audited.pods
  const message = `${missing} running pods that should have the sidecar lack it, among them ${audited.missingSample.join(', ')}: recreate them`
  const ready = !injection
    ? bad('Ready', 'NoTrustAnchors', 'there is no trust bundle yet: nothing can be injected; see the issuer')
    : missing > 0
      ? bad('Ready', 'SidecarsMissing', message)
      : good('Ready', 'Ready', outdated > 0 ? `${outdated} pods have an earlier sidecar; restart them` : '')
  return {
    observedGeneration: generation,
    conditions: [...judge(profile.status?.conditions, [ready], { generation, at })],
    pods: audited.pods,
    missingSample: [...audited.missingSample],
    ...(injection ? { injection } : {}),
  }
}
