import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, isAbsolute, resolve } from 'node:path'
import { type Document, parseDocument } from 'yaml'
import { ALGORITHMS, type Algorithm, algorithmNamed } from '../contracts/jwks.ts'
import {
  complain,
  createReader,
  type Fields,
  join,
  type Reader,
  readFlag,
  readInteger,
  readList,
  readMode,
  readObject,
  readText,
} from './config-reader.ts'
import type { JwksLocation, StandaloneConfig, StandaloneIssuer, TenantBinding } from './settings.ts'

/** Everything the program was told, complete and frozen. */
export interface Config {
  readonly unix: { readonly path: string; readonly mode: number; readonly directoryMode: number } | undefined
  readonly tcp: { readonly host: '127.0.0.1' | '::1'; readonly port: number } | undefined
  readonly admin: { readonly host: string; readonly port: number }
  readonly trust: StandaloneConfig
  readonly limits: Limits
  readonly logDecisions: boolean
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
  logQueueBytes: { from: 4096, to: 67_108_864, fallback: 1_048_576 },
} as const

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
  // Expanding aliases is bounded, or a few lines could become gigabytes.
  const root = readObject(reader, overridden(document.toJS({ maxAliasCount: 16 }), env), '', ROOT_MEMBERS)
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
  'policy',
  'limits',
  'log',
]

function syntaxProblems(document: Document.Parsed): readonly string[] {
  const problems = [...document.errors, ...document.warnings]
  return problems.map(({ message }) => `YAML: ${message.split('\n', 1)[0]}`)
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
  const listen = readObject(reader, root['listen'], 'listen', ['unix', 'mode', 'directoryMode', 'tcp'])
  const unix = readUnix(reader, listen, base)
  const tcp = readTcp(reader, listen['tcp'])
  if (!listen['unix'] && !listen['tcp'])
    complain(reader, 'listen', 'required: "unix" (a socket path), "tcp" (127.0.0.1:PORT), or both')
  const admin = readAdmin(reader, readObject(reader, root['admin'], 'admin', ['listen'])['listen'])
  const audience = readText(reader, root['audience'], 'audience', 'the one audience this workload answers to')
  const exclusiveAudience = readFlag(reader, root['exclusiveAudience'], 'exclusiveAudience', false)
  const limits = readLimits(reader, root['limits'])
  const issuers = readIssuers(reader, root['issuers'], limits, base)
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
    jwksStaleMs: limits.jwksStaleSeconds * 1000,
  }
  return { unix, tcp, admin, trust, limits, logDecisions }
}

const SOCKET_MODE = 0o660
const DIRECTORY_MODE = 0o750
/** `sun_path` of Linux, less the closing NUL. */
const SOCKET_PATH_BYTES = 107

function readUnix(reader: Reader, listen: Fields, base: string): Config['unix'] {
  const mode = readMode(reader, listen['mode'], 'listen.mode', SOCKET_MODE)
  const directoryMode = readMode(reader, listen['directoryMode'], 'listen.directoryMode', DIRECTORY_MODE)
  if (listen['unix'] === undefined) return undefined
  const given = readText(reader, listen['unix'], 'listen.unix', 'a socket path')
  if (!given) return undefined
  const path = fromBase(given, base)
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES) {
    return complain(
      reader,
      'listen.unix',
      `longer than ${SOCKET_PATH_BYTES} bytes, which the kernel cannot bind; use a shorter path`,
    )
  }
  return { path, mode, directoryMode }
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

/** What an entry needs to know of the rest of the file. */
interface Surroundings {
  readonly limits: Limits
  readonly base: string
}

const ISSUER_MEMBERS = [
  'issuer',
  'jwks',
  'algorithms',
  'skewSeconds',
  'tenant',
  'allowInsecureLoopback',
  'allowPrivateAddresses',
]

function readIssuers(
  reader: Reader,
  value: unknown,
  limits: Limits,
  base: string,
): readonly StandaloneIssuer[] {
  const issuers = readList(reader, value, 'issuers', 'token issuers, at least one').flatMap((item, index) => {
    const issuer = readIssuer(reader, item, `issuers[${index}]`, { limits, base })
    return issuer ? [issuer] : []
  })
  const names = issuers.map(({ issuer }) => issuer)
  names.forEach((name, index) => {
    if (names.indexOf(name) !== index)
      complain(reader, `issuers[${index}].issuer`, 'given twice; merge the two entries')
  })
  return issuers
}

function readIssuer(
  reader: Reader,
  item: unknown,
  path: string,
  { limits, base }: Surroundings,
): StandaloneIssuer | undefined {
  const fields = readObject(reader, item, path, ISSUER_MEMBERS)
  const issuer = readText(reader, fields['issuer'], join(path, 'issuer'), 'the exact "iss" of its tokens')
  const insecureLoopback = readFlag(
    reader,
    fields['allowInsecureLoopback'],
    join(path, 'allowInsecureLoopback'),
    false,
  )
  const algorithms = readAlgorithms(reader, fields['algorithms'], join(path, 'algorithms'))
  const location = readJwks(reader, fields['jwks'], join(path, 'jwks'), { issuer: issuer ?? '', base })
  const tenant = readTenant(reader, fields['tenant'], join(path, 'tenant'))
  const skewS = readInteger(reader, fields['skewSeconds'], join(path, 'skewSeconds'), {
    from: 0,
    to: 300,
    fallback: 60,
  })
  const privateAddresses = readFlag(
    reader,
    fields['allowPrivateAddresses'],
    join(path, 'allowPrivateAddresses'),
    false,
  )
  if (location && location.kind !== 'file')
    requireTls(reader, location.uri, insecureLoopback, join(path, 'jwks'))
  if (!issuer || !location || !tenant) return undefined
  const refreshMs = limits.jwksRefreshSeconds * 1000
  return { issuer, algorithms, location, insecureLoopback, privateAddresses, refreshMs, skewS, tenant }
}

function readAlgorithms(reader: Reader, value: unknown, path: string): ReadonlySet<Algorithm> {
  const known = Object.keys(ALGORITHMS).join(', ')
  const algorithms = new Set<Algorithm>()
  for (const name of readList(reader, value, path, `pinned algorithms: ${known}`)) {
    const algorithm = typeof name === 'string' ? algorithmNamed(name) : undefined
    if (algorithm) algorithms.add(algorithm)
    else complain(reader, path, `unknown or forbidden algorithm; known: ${known} (no HMAC, no "none")`)
  }
  return algorithms
}

function readJwks(
  reader: Reader,
  value: unknown,
  path: string,
  { issuer, base }: { readonly issuer: string; readonly base: string },
): JwksLocation | undefined {
  const fields = readObject(reader, value, path, ['file', 'uri', 'discovery'])
  const given = Object.keys(fields)
  if (given.length !== 1)
    return complain(reader, path, 'required: exactly one of "file", "uri", "discovery: true"')
  if (fields['discovery'] === true) {
    return { kind: 'discovery', uri: `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration` }
  }
  const [kind = ''] = given
  const text = readText(reader, fields[kind], join(path, kind), kind === 'file' ? 'a path' : 'a URL')
  if (!text) return undefined
  if (kind === 'file') return { kind, path: fromBase(text, base) }
  if (!URL.canParse(text))
    return complain(reader, join(path, kind), 'must be a URL, such as https://idp.example/jwks')
  return kind === 'uri' ? { kind, uri: text } : { kind: 'discovery', uri: text }
}

function requireTls(reader: Reader, uri: string, insecureLoopback: boolean, path: string): void {
  if (!URL.canParse(uri)) {
    complain(reader, path, 'the issuer is not a URL, so its keys cannot be discovered; use "uri" or "file"')
  } else if (new URL(uri).protocol !== 'https:' && !insecureLoopback) {
    complain(
      reader,
      path,
      'must use https; plain http is for loopback only, with allowInsecureLoopback: true',
    )
  }
}

function readTenant(reader: Reader, value: unknown, path: string): TenantBinding | undefined {
  const fields = readObject(reader, value, path, ['fixed', 'claim', 'allowed'])
  const isFixed = 'fixed' in fields
  if (isFixed === 'claim' in fields || (isFixed && 'allowed' in fields)) {
    return complain(reader, path, 'required: either "fixed: NAME", or "claim: NAME" with "allowed: [NAMES]"')
  }
  if (isFixed) {
    const fixedTenant = readText(reader, fields['fixed'], join(path, 'fixed'), 'a tenant')
    return fixedTenant ? { $case: 'fixedTenant', fixedTenant } : undefined
  }
  const claim = readText(reader, fields['claim'], join(path, 'claim'), 'the name of a claim')
  const allowed = readList(
    reader,
    fields['allowed'],
    join(path, 'allowed'),
    'tenants this issuer may speak for',
  )
  const names = allowed.filter((name) => typeof name === 'string' && name !== '')
  if (names.length !== allowed.length) complain(reader, join(path, 'allowed'), 'each tenant must be text')
  return claim ? { $case: 'tenantClaim', tenantClaim: { claim, allowed: names as string[] } } : undefined
}

function fromBase(path: string, base: string): string {
  return isAbsolute(path) ? path : resolve(base, path)
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) deepFreeze(member)
  }
  return value
}
