import { durationMs } from '../../contracts/crd/duration.ts'
import type { PolicyBundle } from '../../contracts/crd/policy-bundle.ts'
import type { FetchVersion } from '../gather/jwks.ts'
import type { PolicySources } from '../gather/policy-tree.ts'
import { fetchSources, type Read, sourcesFrom } from '../gather/sources.ts'
import { recordOf } from '../kube/answer.ts'
import type { KubeObject } from '../kube/resource.ts'
import { Fault } from '../ports.ts'

export interface SourceNeeds {
  readonly fetch: FetchVersion
  /** Reads a ConfigMap of another namespace; undefined when it is not there. Rejects with what is missing when it may not. */
  readonly configMap: (
    namespace: string,
    name: string,
    signal: AbortSignal,
  ) => Promise<KubeObject | undefined>
}

export type ReadSources = (bundle: PolicyBundle, signal: AbortSignal) => Promise<Read<PolicySources>>

/** ConfigMaps of other namespaces are not watched, which would need to read them all; they are looked at. */
const CONFIG_MAP_MS = 10_000

/** How long after a reading the source is read again; undefined for one that tells of its changes by itself. */
export function readAgainMs({ spec: { source } }: PolicyBundle): number | undefined {
  if (source.type === 'HTTP' && source.http) return durationMs(source.http.refreshInterval)
  return source.type === 'ConfigMap' ? CONFIG_MAP_MS : undefined
}

/** Reads the sources of one PolicyBundle, remembering what a conditional request needs. */
export function createReader(needs: SourceNeeds): ReadSources {
  let held:
    | { readonly url: string; readonly etag: string | undefined; readonly sources: Read<PolicySources> }
    | undefined

  const overHttp = async (http: NonNullable<PolicyBundle['spec']['source']['http']>, signal: AbortSignal) => {
    const { url, caBundle: ca, addresses, sha256 } = http
    const asked = JSON.stringify({ url, sha256 })
    const etag = held?.url === asked && held.sources.ok ? held.etag : undefined
    try {
      const from = { url, ca, sha256, privateAddresses: addresses === 'Private' }
      const fetched = await fetchSources(from, etag, needs.fetch, signal)
      if (fetched.changed) held = { url: asked, etag: fetched.etag, sources: fetched.sources }
    } catch (cause) {
      signal.throwIfAborted()
      return refuse(cause instanceof Error ? cause.message : 'unknown')
    }
    return held?.sources ?? refuse(`${url}: answered "not modified" to the first question`)
  }
  return async ({ metadata, spec: { source } }, signal) => {
    if (source.type === 'HTTP' && source.http) return overHttp(source.http, signal)
    if (source.type === 'ConfigMap' && source.configMap) {
      return fromConfigMap(metadata.namespace, source.configMap.name, needs, signal)
    }
    const modules = (source.inline?.modules ?? []).map(({ path, rego }) => [path, rego] as const)
    const settings = source.inline?.settings
    return sourcesFrom(
      new Map([...modules, ...(settings === undefined ? [] : [['settings.json', settings] as const])]),
      'spec.source.inline',
    )
  }
}

async function fromConfigMap(
  namespace: string,
  name: string,
  needs: SourceNeeds,
  signal: AbortSignal,
): Promise<Read<PolicySources>> {
  const where = `ConfigMap ${namespace}/${name}`
  try {
    const found = await needs.configMap(namespace, name, signal)
    if (!found) return refuse(`${where}: there is none; create it, or correct spec.source.configMap.name`)
    const texts = Object.entries(recordOf(found.data)).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    )
    return sourcesFrom(new Map(texts), where)
  } catch (cause) {
    signal.throwIfAborted()
    const why = Fault.from(cause).message
    return refuse(`${where}: cannot be read (${why}); list the namespace in the chart's configMapNamespaces`)
  }
}

function refuse(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message }
}
