import { createHash } from 'node:crypto'
import { unpackArchive } from '../../contracts/archive.ts'
import type { FetchRules } from '../../contracts/fetch.ts'
import type { FetchVersion } from './jwks.ts'
import type { PolicySources } from './policy-tree.ts'

/** Limits of one policy, whatever its source. Bytes of text, number of files. */
export const SOURCE_LIMITS = { modules: 64, moduleBytes: 64 * 1024, settingsBytes: 64 * 1024 } as const

/** Sources, or what is wrong with them. */
export type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly message: string }

const MODULE_PATH = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*[A-Za-z0-9_-][A-Za-z0-9._-]*\.rego$/

/** Sources from named texts: `*.rego` are modules, `settings.json` or `data.json` the settings, anything else is refused. */
export function sourcesFrom(files: ReadonlyMap<string, string>, where: string): Read<PolicySources> {
  const modules = new Map<string, string>()
  let settings = '{}'
  for (const [path, text] of files) {
    if (path === 'settings.json') settings = text
    else if (MODULE_PATH.test(path)) modules.set(path, text)
    else return refuse(`${where}: "${path}" is neither *.rego nor settings.json; remove it`)
  }
  return bounded({ modules, settings }, where)
}

function bounded(sources: PolicySources, where: string): Read<PolicySources> {
  const { modules, settings } = sources
  if (modules.size === 0) return refuse(`${where}: there is no *.rego; add a module`)
  if (modules.size > SOURCE_LIMITS.modules)
    return refuse(`${where}: more than ${SOURCE_LIMITS.modules} modules`)
  for (const [path, rego] of modules) {
    if (Buffer.byteLength(rego) > SOURCE_LIMITS.moduleBytes)
      return refuse(`${where}: ${path} is larger than ${SOURCE_LIMITS.moduleBytes} bytes; split it`)
  }
  if (Buffer.byteLength(settings) > SOURCE_LIMITS.settingsBytes)
    return refuse(`${where}: the settings are larger than ${SOURCE_LIMITS.settingsBytes} bytes`)
  return isObject(settings)
    ? { ok: true, value: sources }
    : refuse(`${where}: the settings are not a JSON object`)
}

/** Names the sources: equal sources, equal digest. `tests` decides what happens to them, so it counts. */
export function sourceDigest({ modules, settings }: PolicySources, tests: string): string {
  const sum = createHash('sha256').update(`${tests}\n${settings.length}:${settings}`)
  for (const [path, rego] of [...modules].sort(([one], [other]) => (one < other ? -1 : 1))) {
    sum.update(`${path.length}:${path}:${rego.length}:`).update(rego)
  }
  return `sha256:${sum.digest('hex')}`
}

/** Where a bundle of sources is fetched. */
export interface HttpBundle {
  readonly url: string
  readonly ca: string | undefined
  readonly privateAddresses: boolean
  /** Hex; what the archive must hash to. */
  readonly sha256: string | undefined
}

export type FetchedSources =
  | { readonly changed: true; readonly sources: Read<PolicySources>; readonly etag: string | undefined }
  | { readonly changed: false }

const ARCHIVE_BYTES = 4 * 1024 * 1024

/** One conditional GET of a `.tar.gz` of sources. Rejects when it could not be had. */
export async function fetchSources(
  from: HttpBundle,
  etag: string | undefined,
  fetch: FetchVersion,
  signal: AbortSignal,
): Promise<FetchedSources> {
  const rules: FetchRules = {
    insecureLoopback: false,
    privateAddresses: from.privateAddresses,
    maxBytes: ARCHIVE_BYTES,
    expects: 'gzip',
    ...(from.ca === undefined ? {} : { ca: from.ca }),
    ...(etag === undefined ? {} : { etag }),
  }
  const fetched = await fetch(from.url, rules, signal)
  if (!fetched.changed) return fetched
  const found = createHash('sha256').update(fetched.body).digest('hex')
  if (from.sha256 !== undefined && from.sha256 !== found) {
    const message = `${from.url}: its SHA-256 is ${found}, spec.source.http.sha256 asks for another; publish the expected file or change the digest`
    return { changed: true, sources: { ok: false, message }, etag: fetched.etag }
  }
  return { changed: true, sources: await unpacked(fetched.body, from.url), etag: fetched.etag }
}

async function unpacked(body: Buffer, url: string): Promise<Read<PolicySources>> {
  try {
    const files = await unpackArchive(body, url)
    const texts = [...files]
      .filter(([path]) => path !== '.manifest')
      .map(([path, content]) => [path, content.toString('utf8')] as const)
    return sourcesFrom(new Map(texts), url)
  } catch (cause) {
    return refuse(cause instanceof Error ? cause.message : 'unknown')
  }
}

function isObject(json: string): boolean {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

function refuse(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message }
}
