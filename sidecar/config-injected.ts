import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { join as joinPath } from 'node:path'
import { parseArgs } from 'node:util'
import { isTrustDomain } from '../contracts/spiffe.ts'
import {
  DEFAULT_LIMITS,
  type Environment,
  type Serving,
  SOCKET_PATH_BYTES,
  type UnixSocket,
} from './config.ts'
import { complain, createReader, type Reader } from './config-reader.ts'
import { readRedis } from './config-redis.ts'
import type { Endpoint, IdentitySettings, Pod } from './settings.ts'

/** Everything an injected sidecar was told: by the arguments and the environment that the injection wrote. */
export interface InjectedConfig extends Serving {
  readonly unix: UnixSocket
  readonly workloadApi: UnixSocket
  readonly identity: IdentitySettings
}

export type InjectedResult =
  | { readonly ok: true; readonly config: InjectedConfig }
  | { readonly ok: false; readonly problems: readonly string[] }

const ARGUMENTS = {
  feed: 'HOST:PORT of the operator',
  issuer: 'HOST:PORT of the issuer',
  'trust-domain': 'the trust domain, such as cluster.example',
  audience: 'the audience of the projected token',
  'decision-log': 'On or Off',
  'check-port': 'the loopback port for checks',
  'admin-port': 'the port for health and metrics',
} as const
/** Those that may be left out. */
const OPTIONAL = {
  credentials: 'On to serve refresh families and token exchange on their own socket, else Off',
  redis: 'the Redis that all replicas share, in JSON with the members of the section "redis"',
} as const
type Argument = keyof typeof ARGUMENTS | keyof typeof OPTIONAL

/** Where things lie in the pod. Nothing in the pod can move them but a test's root directory. */
const PLACES = {
  checkSocket: '/run/portcullis/check.sock',
  workloadSocket: '/run/spiffe/workload.sock',
  credentialsSocket: '/run/portcullis-credentials/credentials.sock',
  token: '/var/run/secrets/portcullis/token',
  // Beside the socket, where nobody else can write; why that is safe stands in identity/anchors-file.ts.
  anchors: '/run/portcullis/anchors.pem',
} as const
// Who reaches a socket is decided by who has its directory mounted, and everyone but this program has it read-only: the socket
// itself is open to every uid of the pod, and what an emptyDir's own mode says does not matter.
const SOCKET_MODE = 0o666

/** Whether these arguments ask for injected mode at all. */
export function asksForInjection(args: readonly string[]): boolean {
  return args.includes('--injected')
}

/** A complete configuration, or every problem with its argument or variable, what and what to do. */
export function parseInjected(args: readonly string[], env: Environment): InjectedResult {
  const reader = createReader()
  const given = readArguments(reader, args)
  const config = build(reader, given, env)
  if (reader.problems.length > 0 || !config) return { ok: false, problems: reader.problems }
  return { ok: true, config }
}

type Given = ReadonlyMap<Argument, string>

function readArguments(reader: Reader, args: readonly string[]): Given {
  const options = Object.fromEntries(argumentNames().map((name) => [name, { type: 'string' as const }]))
  const flags = { injected: { type: 'boolean' as const }, check: { type: 'boolean' as const } }
  const { tokens } = parseArgs({
    args: [...args],
    options: { ...options, ...flags },
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const given = new Map<Argument, string>()
  for (const token of tokens) {
    if (token.kind === 'option' && token.name in flags) continue
    const name = token.kind === 'option' ? token.name : undefined
    if (token.kind !== 'option' || !name || !isArgument(name)) {
      const written =
        token.kind === 'option' ? token.rawName : token.kind === 'positional' ? token.value : '--'
      complain(reader, written.slice(0, 64), `unknown with --injected; known here: ${known()}`)
    } else if (given.has(name)) complain(reader, `--${name}`, 'given twice; keep one')
    else if (token.value) given.set(name, token.value)
  }
  return given
}

function isArgument(name: string): name is Argument {
  return Object.hasOwn(ARGUMENTS, name) || Object.hasOwn(OPTIONAL, name)
}

function argumentNames(): readonly string[] {
  return [...Object.keys(ARGUMENTS), ...Object.keys(OPTIONAL)]
}

function known(): string {
  return argumentNames()
    .map((name) => `--${name}`)
    .join(', ')
}

function build(reader: Reader, given: Given, env: Environment): InjectedConfig | undefined {
  const text = (name: keyof typeof ARGUMENTS) => readArgument(reader, given, name)
  const feed = readEndpoint(reader, 'feed', text('feed'))
  const issuer = readEndpoint(reader, 'issuer', text('issuer'))
  const trustDomain = readTrustDomain(reader, text('trust-domain'))
  const audience = text('audience')
  const logDecisions = readSwitch(reader, 'decision-log', text('decision-log'))
  const checkPort = readPort(reader, 'check-port', text('check-port'))
  const adminPort = readPort(reader, 'admin-port', text('admin-port'))
  const pod = readPod(reader, env)
  const host = readPodAddress(reader, env)
  const anchors = readAnchors(reader, env['PORTCULLIS_TRUST_ANCHORS'])
  const place = (name: keyof typeof PLACES) => joinPath(env['PORTCULLIS_TEST_ROOT'] || '/', PLACES[name])
  const unix = readSocket(reader, place('checkSocket'))
  const workloadApi = readSocket(reader, place('workloadSocket'))
  const handsOut = given.has('credentials') && readSwitch(reader, 'credentials', given.get('credentials'))
  const credentials = handsOut ? readSocket(reader, place('credentialsSocket')) : undefined
  const redis = readRedis(reader, readJson(reader, given.get('redis')), { base: '/', client: 'live' })
  if (!feed || !issuer || !trustDomain || !audience || !pod || !host) return undefined
  return Object.freeze({
    unix,
    tcp: { host: '127.0.0.1' as const, port: checkPort },
    admin: { host, port: adminPort },
    // The caller's deadline rules; a check may wait for a key to come from the provider by way of the operator.
    limits: { ...DEFAULT_LIMITS, deadlineMs: 5_000 },
    logDecisions,
    workloadApi,
    credentials,
    redis,
    identity: Object.freeze({
      ...{ trustDomain, audience, issuer, feed, anchors, pod },
      tokenFile: place('token'),
      anchorsFile: place('anchors'),
    }),
  })
}

const REDIS_LENGTH = 8_192

function readJson(reader: Reader, text: string | undefined): unknown {
  if (text === undefined) return undefined
  if (text.length > REDIS_LENGTH) return complain(reader, '--redis', `longer than ${REDIS_LENGTH} characters`)
  try {
    return JSON.parse(text)
  } catch {
    return complain(reader, '--redis', `must be ${OPTIONAL.redis}`)
  }
}

function readArgument(reader: Reader, given: Given, name: keyof typeof ARGUMENTS): string | undefined {
  const value = given.get(name)
  if (value === undefined) return complain(reader, `--${name}`, `required: ${ARGUMENTS[name]}`)
  return value.length <= 512 ? value : complain(reader, `--${name}`, 'longer than 512 characters')
}

function readEndpoint(reader: Reader, name: Argument, value: string | undefined): Endpoint | undefined {
  if (value === undefined) return undefined
  const match = /^(?:\[([0-9a-f:]+)\]|([a-z0-9.-]{1,253})):(\d{1,5})$/i.exec(value)
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  const sound = match && port > 0 && port <= 65_535 && (match[1] === undefined || isIP(host) === 6)
  return sound
    ? { host, port }
    : complain(reader, `--${name}`, `must be HOST:PORT, such as portcullis.example.svc:8443`)
}

function readTrustDomain(reader: Reader, value: string | undefined): string | undefined {
  if (value === undefined || isTrustDomain(value)) return value
  return complain(
    reader,
    '--trust-domain',
    'must be lower case letters, digits, ".", "-" or "_", such as cluster.example (SPIFFE-ID section 2.1)',
  )
}

function readSwitch(reader: Reader, name: Argument, value: string | undefined): boolean {
  if (value !== undefined && value !== 'On' && value !== 'Off')
    complain(reader, `--${name}`, 'must be On or Off')
  return value !== 'Off'
}

// 0 is any free port: of use to tests only, and harmless elsewhere.
function readPort(reader: Reader, name: Argument, value: string | undefined): number {
  if (value === undefined) return 0
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65_535) return Number(value)
  complain(reader, `--${name}`, 'must be a port from 0 to 65535')
  return 0
}

function readPod(reader: Reader, env: Environment): Pod | undefined {
  const uid = readVariable(reader, env, 'POD_UID', 'metadata.uid')
  const name = readVariable(reader, env, 'POD_NAME', 'metadata.name')
  const namespace = readVariable(reader, env, 'POD_NAMESPACE', 'metadata.namespace')
  const serviceAccount = readVariable(reader, env, 'POD_SERVICE_ACCOUNT', 'spec.serviceAccountName')
  if (!uid || !name || !namespace || !serviceAccount) return undefined
  return Object.freeze({ uid, name, namespace, serviceAccount })
}

function readVariable(reader: Reader, env: Environment, name: string, field: string): string | undefined {
  const value = env[name]
  if (!value) return complain(reader, name, `required: set it from fieldRef ${field} (the injection does)`)
  // RFC 1123 names and UIDs of Kubernetes hold nothing else, and it may end up in a log line.
  return /^[A-Za-z0-9.-]{1,253}$/.test(value)
    ? value
    : complain(reader, name, `must be what fieldRef ${field} gives: letters, digits, "." and "-"`)
}

function readPodAddress(reader: Reader, env: Environment): string | undefined {
  const value = env['POD_IP']
  if (!value)
    return complain(reader, 'POD_IP', 'required: set it from fieldRef status.podIP (the injection does)')
  return isIP(value)
    ? value
    : complain(reader, 'POD_IP', 'must be an IP address, as fieldRef status.podIP gives')
}

const ANCHOR_BYTES = 64 * 1024
const MOST_ANCHORS = 8
const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

function readAnchors(reader: Reader, pem: string | undefined): readonly Uint8Array[] {
  const where = 'PORTCULLIS_TRUST_ANCHORS'
  const remedy = 'it is written by the injection; recreate the pod'
  if (!pem) complain(reader, where, `required: root certificates in PEM; ${remedy}`)
  if (!pem || pem.length > ANCHOR_BYTES) {
    if (pem) complain(reader, where, `longer than ${ANCHOR_BYTES} bytes; ${remedy}`)
    return []
  }
  const blocks = pem.match(PEM) ?? []
  // A private key in here would be a grave mistake of somebody: the text around the certificates must be blank.
  if (pem.replace(PEM, '').trim() !== '')
    complain(reader, where, `holds something besides certificates in PEM; ${remedy}`)
  if (blocks.length === 0 || blocks.length > MOST_ANCHORS)
    complain(reader, where, `holds ${blocks.length} certificates, not 1 to ${MOST_ANCHORS}; ${remedy}`)
  return blocks.slice(0, MOST_ANCHORS).flatMap((block, index) => {
    const root = rootIn(block)
    if (!root) complain(reader, where, `certificate ${index + 1} is not a CA certificate; ${remedy}`)
    return root ? [root] : []
  })
}

function rootIn(block: string): Uint8Array | undefined {
  try {
    const certificate = new X509Certificate(block)
    return certificate.ca ? certificate.raw : undefined
  } catch {
    return undefined
  }
}

function readSocket(reader: Reader, path: string): UnixSocket {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES)
    complain(reader, 'PORTCULLIS_TEST_ROOT', `makes a socket path longer than ${SOCKET_PATH_BYTES} bytes`)
  return Object.freeze({ path, mode: SOCKET_MODE, directoryMode: undefined })
}
