import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, resolve } from 'node:path'
import { type Document, parseDocument } from 'yaml'
import type { RedisSettings } from '../contracts/redis/settings.ts'
import { readClient } from './config-endpoints.ts'
import { readIssuers } from './config-issuers.ts'
import {
  complain,
  createReader,
  type Fields,
  fromBase,
  type Reader,
  readFlag,
  readInteger,
  readMode,
  readObject,
  readText,
} from './config-reader.ts'
import { readRedis } from './config-redis.ts'
import { readRoutes, readTokens } from './config-tokens.ts'
import type { StandaloneConfig } from './settings.ts'

/** Where and how checks are answered, in either mode. */
export interface Serving {
  readonly unix: UnixSocket | undefined
  readonly tcp: { readonly host: '127.0.0.1' | '::1'; readonly port: number } | undefined
  readonly admin: { readonly host: string; readonly port: number }
  readonly limits: Limits
  readonly logDecisions: boolean
  /** The socket of the services that hand out or change credentials; they are nowhere else. */
  readonly credentials: UnixSocket | undefined
  /** What all replicas share; `undefined`: each keeps its own. */
  readonly redis: RedisSettings | undefined
}

export interface UnixSocket {
  readonly path: string
  readonly mode: number
  /** Undefined where the directory is a mount that the injection made. */
  readonly directoryMode: number | undefined
}

/** Everything the program was told in standalone mode, complete and frozen. */
export interface Config extends Serving {
  readonly trust: StandaloneConfig
}

export type Limits = Readonly<Record<keyof typeof LIMITS, number>>

/** Every limit with its bounds and default. Durations in milliseconds or seconds and sizes in bytes, as the names say. */
const LIMITS = {
  inFlight: { from: 1, to: 100_000, fallback: 1024 },
  streamWindow: { from: 1, to: 128, fallback: 64 },
  connections: { from: 1, to: 1024, fallback: 64 },
  streamsPerConnection: { from: 1, to: 4096, fallback: 256 },
  requestBytes: { from: 1024, to: 1_048_576, fallback: 65_536 },
  deadlineMs: { from: 1, to: 60_000, fallback: 1_000 },
  eventLoopLagMs: { from: 10, to: 10_000, fallback: 250 },
  policyMemoryBytes: { from: 4_194_304, to: 1_073_741_824, fallback: 67_108_864 },
  maxTokenLifetimeSeconds: { from: 60, to: 86_400, fallback: 3_600 },
  jwksRefreshSeconds: { from: 10, to: 900, fallback: 300 },
  jwksStaleSeconds: { from: 60, to: 86_400, fallback: 86_400 },
  drainSeconds: { from: 0, to: 300, fallback: 25 },
  tokenCacheEntries: { from: 0, to: 50_000, fallback: 8_192 },
  tokenCacheBytes: { from: 0, to: 67_108_864, fallback: 8_388_608 },
  logQueueBytes: { from: 4096, to: 67_108_864, fallback: 1_048_576 },
} as const

export const DEFAULT_LIMITS: Limits = Object.freeze(
  Object.fromEntries(Object.entries(LIMITS).map(([name, { fallback }]) => [name, fallback])) as Limits,
)

/** Environment variables that override the file: where things are, never what is believed. */
const ENVIRONMENT = {
  PORTCULLIS_LISTEN_UNIX: ['listen', 'unix'],
  PORTCULLIS_LISTEN_TCP: ['listen', 'tcp'],
  PORTCULLIS_ADMIN_LISTEN: ['admin', 'listen'],
  PORTCULLIS_POLICY_PATH: ['policy', 'path'],
} as const

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly string[] }

export type Environment = Readonly<Record<string, string | undefined>>

/** Path of the configuration file: the argument, else `PORTCULLIS_CONFIG`, else the usual place. */
export function configPath(argument: string | undefined, env: Environment): string {
  return argument ?? env['PORTCULLIS_CONFIG'] ?? '/etc/portcullis/config.yaml'
}

/** Reads one YAML file plus environment: a complete configuration, or every problem with path, what and what to do. */
export function readConfig(path: string, env: Environment): ConfigResult {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    return {
      ok: false,
      problems: [`${path}: cannot be read (${code}); give --config FILE or set PORTCULLIS_CONFIG`],
    }
  }
  return parseConfig(text, env, dirname(resolve(path)))
}

/** The same from text; relative paths in it start at `base`. */
export function parseConfig(text: string, env: Environment, base: string): ConfigResult {
  const document = parseDocument(text, { uniqueKeys: true, version: '1.2', schema: 'core', strict: true })
  const syntax = syntaxProblems(document)
  if (syntax.length > 0) return { ok: false, problems: syntax }
  const reader = createReader()
  const tree = expanded(document)
  if ('problem' in tree) return { ok: false, problems: [tree.problem] }
  const root = readObject(reader, overridden(tree.value, env), '', ROOT_MEMBERS)
  const config = build(reader, root, base)
  if (reader.problems.length > 0 || !config) return { ok: false, problems: reader.problems }
  return { ok: true, config: deepFreeze(config) }
}

const ROOT_MEMBERS = [
  'version',
  'listen',
  'admin',
  'audience',
  'exclusiveAudience',
  'issuers',
  'tokens',
  'routes',
  'client',
  'redis',
  'policy',
  'limits',
  'log',
]

function syntaxProblems(document: Document.Parsed): readonly string[] {
  const problems = [...document.errors, ...document.warnings]
  return problems.map(({ message }) => `YAML: ${message.split('\n', 1)[0]}`)
}

// Expanding aliases is bounded, or a few lines could become gigabytes.
function expanded(document: Document.Parsed): { readonly value: unknown } | { readonly problem: string } {
  try {
    return { value: document.toJS({ maxAliasCount: 16 }) }
  } catch {
    return { problem: 'YAML: an alias that is not defined, or more than 16 of them; write the values out' }
  }
}

function overridden(root: unknown, env: Environment): unknown {
  if (typeof root !== 'object' || root === null || Array.isArray(root)) return root ?? {}
  const merged: Record<string, unknown> = { ...root }
  for (const [name, [section, member]] of Object.entries(ENVIRONMENT)) {
    const value = env[name]
    if (!value) continue
    const before = merged[section]
    merged[section] = { ...(typeof before === 'object' ? before : {}), [member]: value }
  }
  return merged
}

function build(reader: Reader, root: Fields, base: string): Config | undefined {
  if (root['version'] !== 1) complain(reader, 'version', 'required: 1')
  const listen = readObject(reader, root['listen'], 'listen', [
    'unix',
    'mode',
    'directoryMode',
    'tcp',
    'credentials',
  ])
  const { unix, credentials } = readUnix(reader, listen, base)
  const tcp = readTcp(reader, listen['tcp'])
  if (!listen['unix'] && !listen['tcp'])
    complain(reader, 'listen', 'required: "unix" (a socket path), "tcp" (127.0.0.1:PORT), or both')
  const admin = readAdmin(reader, readObject(reader, root['admin'], 'admin', ['listen'])['listen'])
  const audience = readText(reader, root['audience'], 'audience', 'the one audience this workload answers to')
  const exclusiveAudience = readFlag(reader, root['exclusiveAudience'], 'exclusiveAudience', false)
  const limits = readLimits(reader, root['limits'])
  if (limits.jwksStaleSeconds < 2 * limits.jwksRefreshSeconds) {
    complain(
      reader,
      'limits.jwksStaleSeconds',
      'must be at least twice jwksRefreshSeconds, or keys go stale between two refreshes',
    )
  }
  const issuers = readIssuers(reader, root['issuers'], { refreshMs: limits.jwksRefreshSeconds * 1000, base })
  const client = readClient(reader, root['client'], { base, issuers })
  const tokens = readTokens(reader, root['tokens'])
  const routes = readRoutes(reader, root['routes'])
  const policy = readObject(reader, root['policy'], 'policy', ['path'])
  const policyPath = readText(
    reader,
    policy['path'],
    'policy.path',
    'an unpacked OPA bundle directory or a .tar.gz',
  )
  const log = readObject(reader, root['log'], 'log', ['decisions'])
  const logDecisions = readFlag(reader, log['decisions'], 'log.decisions', true)
  if (!audience || !policyPath || !admin) return undefined
  const trust: StandaloneConfig = {
    audience,
    exclusiveAudience,
    maxTokenLifetimeS: limits.maxTokenLifetimeSeconds,
    issuers,
    policyPath: fromBase(policyPath, base),
    routes,
    tokens,
    jwksStaleMs: limits.jwksStaleSeconds * 1000,
    client,
  }
  const redis = readRedis(reader, root['redis'], { base, client: 'files' })
  return { unix, tcp, admin, trust, limits, logDecisions, credentials, redis }
}

const SOCKET_MODE = 0o660
const DIRECTORY_MODE = 0o750
/** `sun_path` of Linux, less the closing NUL. */
export const SOCKET_PATH_BYTES = 107

// Both sockets, whose modes are the same.
function readUnix(reader: Reader, listen: Fields, base: string): Pick<Serving, 'unix' | 'credentials'> {
  const mode = readMode(reader, listen['mode'], 'listen.mode', SOCKET_MODE)
  const directoryMode = readMode(reader, listen['directoryMode'], 'listen.directoryMode', DIRECTORY_MODE)
  const socket = (name: 'unix' | 'credentials'): UnixSocket | undefined => {
    const path =
      listen[name] === undefined
        ? undefined
        : readText(reader, listen[name], `listen.${name}`, 'a socket path')
    return path === undefined ? undefined : { path: fromBase(path, base), mode, directoryMode }
  }
  const [unix, credentials] = [socket('unix'), socket('credentials')]
  for (const [name, one] of Object.entries({ unix, credentials })) {
    if (!one || Buffer.byteLength(one.path) <= SOCKET_PATH_BYTES) continue
    complain(
      reader,
      `listen.${name}`,
      `longer than ${SOCKET_PATH_BYTES} bytes, which the kernel cannot bind; use a shorter path`,
    )
  }
  if (unix && credentials && dirname(unix.path) === dirname(credentials.path))
    complain(
      reader,
      'listen.credentials',
      'needs a directory of its own: who may reach it is decided by the mount',
    )
  return { unix, credentials }
}

function readTcp(reader: Reader, value: unknown): Config['tcp'] {
  if (value === undefined) return undefined
  const address = readAddress(reader, value, 'listen.tcp')
  if (!address) return undefined
  const { host, port } = address
  if (host === '127.0.0.1' || host === '::1') return { host, port }
  return complain(
    reader,
    'listen.tcp',
    'must be 127.0.0.1:PORT or [::1]:PORT; checks are never answered to other hosts',
  )
}

function readAdmin(reader: Reader, value: unknown): Config['admin'] | undefined {
  return readAddress(reader, value ?? '127.0.0.1:9090', 'admin.listen')
}

function readAddress(
  reader: Reader,
  value: unknown,
  path: string,
): { host: string; port: number } | undefined {
  const match = typeof value === 'string' ? /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{1,5})$/i.exec(value) : null
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  if (match && isIP(host) !== 0 && port <= 65_535) return { host, port }
  return complain(reader, path, 'must be an IP address and port, such as 127.0.0.1:9090 or [::1]:9090')
}

function readLimits(reader: Reader, value: unknown): Limits {
  const fields = readObject(reader, value, 'limits', Object.keys(LIMITS))
  const entries = Object.entries(LIMITS).map(([name, bounds]) => [
    name,
    readInteger(reader, fields[name], `limits.${name}`, bounds),
  ])
  return Object.fromEntries(entries) as Limits
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}
