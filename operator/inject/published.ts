import { type Facts, type Injection, injectionOf, type Profile, pemOf } from './sidecar.ts'

/**
 * What may be injected now: only what SidecarProfile.status.injection says already, for the guard compares every pod with
 * that. Between a change of the profile and the leader's word on it, pods get the sidecar of before.
 */

export interface Template {
  readonly profile: Profile
  readonly facts: Facts
}

export interface Published {
  /** Call with every change of the profile, of its status or of the trust bundle. */
  observe(wanted: Template | undefined, status: Injection | undefined): void
  /** undefined: nothing that the guard would let in. */
  current(): Template | undefined
}

export function createPublished(): Published {
  let newest: Template | undefined
  let accepted: Template | undefined
  return {
    observe: (wanted, status) => {
      newest = wanted
      const usable = [newest, accepted].flatMap((one) => (one && narrowed(one, status)) ?? [])
      accepted = usable[0]
    },
    current: () => accepted,
  }
}

/** The template with those of its roots that are published; undefined when the guard would refuse what it makes. */
function narrowed({ profile, facts }: Template, status: Injection | undefined): Template | undefined {
  if (!status) return undefined
  const { image, args, env } = injectionOf(profile, facts)
  const same =
    image === status.image && equal(args, status.args) && equal(env.toSorted(), status.env.toSorted())
  if (!same) return undefined
  const trustAnchors = facts.trustAnchors.map(pemOf).filter((root) => status.trustAnchors.includes(root))
  return trustAnchors.length > 0 ? { profile, facts: { ...facts, trustAnchors } } : undefined
}

function equal(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((item, index) => item === other[index])
}
