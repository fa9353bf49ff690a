import type { Place } from './resource.ts'
import type { KubeRequest } from './transport.ts'
import type { Options } from './verbs.ts'

/** What to mirror. */
export interface Selection {
  readonly place: Omit<Place, 'name' | 'subresource'>
  readonly labelSelector?: string
  readonly fieldSelector?: string
  /** Only `metadata`: for kinds whose specs are large and of no interest. */
  readonly metadataOnly?: boolean
}

export interface ReflectorRules {
  readonly pageSize: number
  readonly maxObjects: number
  readonly listTimeoutMs: number
  /** A watch asks the server to end it after a time between these; seconds. */
  readonly watchSeconds: readonly [number, number]
  /** A watch without a byte for this long is dead. The server sends a bookmark about every minute. */
  readonly stallMs: number
  /** Waits between failures. The longest is also how late a revocation may be after the API server is back, and only a few mirrors ask. */
  readonly backoffMs: readonly [number, number]
  /** Ask for initial events over the watch (KEP-3157) before falling back to pages. */
  readonly watchList: boolean
}

export const REFLECTOR_RULES: ReflectorRules = {
  pageSize: 500,
  maxObjects: 200_000,
  listTimeoutMs: 60_000,
  watchSeconds: [300, 600],
  stallMs: 90_000,
  backoffMs: [800, 5_000],
  watchList: true,
}

/** The request for everything. */
export function listRequest(selection: Selection): Place & Options {
  return {
    ...selection.place,
    accept: acceptOf(selection, 'PartialObjectMetadataList'),
    query: selectorsOf(selection),
  }
}

/** The request for changes after `version`, or, without one, for everything and then its changes. `chance`: in [0, 1). */
export function watchRequest(
  selection: Selection,
  rules: ReflectorRules,
  version: string | undefined,
  chance: number,
): KubeRequest {
  const [low, high] = rules.watchSeconds
  return {
    ...selection.place,
    method: 'GET',
    accept: acceptOf(selection, 'PartialObjectMetadata'),
    query: {
      ...selectorsOf(selection),
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(Math.round(low + (high - low) * chance)),
      ...(version === undefined
        ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }
        : { resourceVersion: version }),
    },
  }
}

function selectorsOf({ labelSelector, fieldSelector }: Selection): Readonly<Record<string, string>> {
  return { ...(labelSelector ? { labelSelector } : {}), ...(fieldSelector ? { fieldSelector } : {}) }
}

function acceptOf({ metadataOnly }: Selection, kind: string): string {
  return metadataOnly ? `application/json;as=${kind};g=meta.k8s.io;v=v1` : 'application/json'
}
