import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { KubeConfig } from '@kubernetes/client-node'
import { Fault } from '../ports.ts'

/** Where the API server is, and who we are. */
export type KubeconfigSource =
  /** The pod's own service account. `host` and `port`: KUBERNETES_SERVICE_HOST and _PORT, read by main. */
  | {
      readonly kind: 'inCluster'
      readonly host: string
      readonly port: string
      /** Where the projected `ca.crt` and `token` are. */
      readonly directory?: string
    }
  | { readonly kind: 'file'; readonly path: string; readonly context?: string }
  /** Given outright: tests, and tools that made their own credentials. */
  | ({ readonly kind: 'given' } & Access)

/** One reading of the credentials. */
export interface Access {
  /** Scheme, host and port; a path prefix is kept. */
  readonly server: string
  readonly tls?: ClientTls
  /** `authorization` and, if ever, impersonation. Secret: never logged. */
  readonly headers?: Readonly<Record<string, string>>
}
export interface ClientTls {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly passphrase?: string
  readonly servername?: string
  readonly rejectUnauthorized?: boolean
}

export type ReadAccess = () => Promise<Access>

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'
const MAX_FILE_BYTES = 1024 * 1024

/** Reads the credentials anew at every call: projected tokens, CA bundles and kubeconfigs change while the process runs. */
export function createReadAccess(source: KubeconfigSource): ReadAccess {
  switch (source.kind) {
    case 'given':
      return async () => source
    case 'inCluster':
      return () => readInCluster(source)
    case 'file':
      return createReadFile(source.path, source.context)
    default:
      return source satisfies never
  }
}

async function readInCluster(
  source: Extract<KubeconfigSource, { readonly kind: 'inCluster' }>,
): Promise<Access> {
  const directory = source.directory ?? SERVICE_ACCOUNT
  const [ca, token] = await Promise.all([
    readSmall(join(directory, 'ca.crt')),
    readSmall(join(directory, 'token')),
  ])
  const host = source.host.includes(':') ? `[${source.host}]` : source.host
  return {
    server: `https://${host}:${source.port}`,
    tls: { ca },
    headers: { authorization: `Bearer ${token.trim()}` },
  }
}

async function readSmall(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`)
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new Fault('api', `${path}: cannot be read`, cause)
  }
}

// The client library's 60 MB are loaded for a kubeconfig file only; a pod needs none of it. The object is kept while the file stays
// the same, because exec and OIDC plugins cache their credentials in it.
function createReadFile(path: string, context: string | undefined): ReadAccess {
  let loaded: { readonly mark: string; readonly config: KubeConfig } | undefined
  return async () => {
    const mark = await markOf(path)
    if (loaded?.mark !== mark) loaded = { mark, config: await loadFile(path, context) }
    return accessOf(loaded.config, path)
  }
}

async function markOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs } = await stat(path, { bigint: true })
    return `${ino}:${size}:${mtimeNs}`
  } catch (cause) {
    throw new Fault('api', `${path}: kubeconfig cannot be read`, cause)
  }
}

async function loadFile(path: string, context: string | undefined): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node')
  const config = new KubeConfig()
  try {
    config.loadFromFile(path)
  } catch (cause) {
    throw new Fault('api', `${path}: not a kubeconfig`, cause)
  }
  if (context !== undefined) config.setCurrentContext(context)
  return config
}

async function accessOf(config: KubeConfig, path: string): Promise<Access> {
  const cluster = config.getCurrentCluster()
  if (!cluster) throw new Fault('api', `${path}: context "${config.getCurrentContext()}" names no cluster`)
  if (cluster.proxyUrl) throw new Fault('api', `${path}: proxy-url is not supported`)
  const options: Parameters<KubeConfig['applyToHTTPSOptions']>[0] = {}
  await config.applyToHTTPSOptions(options)
  const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    String(value),
  ])
  return {
    server: cluster.server,
    tls: tlsOf(options),
    headers: {
      ...(options.auth ? { authorization: `Basic ${Buffer.from(options.auth).toString('base64')}` } : {}),
      ...Object.fromEntries(headers),
    },
  }
}

function tlsOf(options: Parameters<KubeConfig['applyToHTTPSOptions']>[0]): ClientTls {
  const { ca, cert, key, passphrase, servername, rejectUnauthorized } = options
  return {
    ...(isPem(ca) ? { ca } : {}),
    ...(isPem(cert) ? { cert } : {}),
    ...(isPem(key) ? { key } : {}),
    ...(passphrase ? { passphrase } : {}),
    ...(servername ? { servername } : {}),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  }
}

function isPem(value: unknown): value is string | Buffer {
  return typeof value === 'string' || Buffer.isBuffer(value)
}
