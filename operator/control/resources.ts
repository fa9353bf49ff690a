import { GROUP, type Kind, RESOURCES, VERSION } from '../../contracts/crd.ts'
import type { Resource } from '../kube/resource.ts'

/** Our own kinds as the API server's paths name them. */
export function resourceOf(kind: Kind): Resource {
  const { plural, scope } = RESOURCES[kind]
  return { group: GROUP, version: VERSION, plural, kind, namespaced: scope === 'Namespaced' }
}
