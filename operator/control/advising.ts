import type { AccessPolicy } from '../../contracts/crd/access-policy.ts'
import type { PolicyKnown } from '../reconcile/advice.ts'
import type { View } from './view.ts'

/** The AccessPolicies that name this TokenIssuer (`namespace/name`), whether it lets them or not. */
export function believersOf({ cluster }: View, tokenIssuer: string): readonly AccessPolicy[] {
  return [...cluster.accessPolicies.values()].filter((policy) => namedBy(policy).includes(tokenIssuer))
}

/** What others have to do with an AccessPolicy. */
export function knownOfPolicy({ cluster }: View, policy: AccessPolicy): PolicyKnown {
  const own = `${policy.metadata.namespace}/${policy.metadata.name}`
  const sameAudience = [...cluster.accessPolicies]
    .filter(([key, { spec }]) => key !== own && spec.audience === policy.spec.audience)
    .map(([key]) => key)
  const notAsked = namedBy(policy).filter((key) => {
    const issuer = cluster.tokenIssuers.get(key)
    return issuer !== undefined && issuer.spec.introspection === undefined
  })
  return { sameAudience: sameAudience.sort(), notAsked: notAsked.sort() }
}

function namedBy({ metadata, spec }: AccessPolicy): readonly string[] {
  return spec.issuers.map(({ name, namespace }) => `${namespace || metadata.namespace}/${name}`)
}
