// An application that has been taken over: everything that it can try from inside its own container, one attempt a request. It runs beside a
// sidecar, with the network, the files, the token and the SPIFFE identity that any application has.
import { generateKeyPairSync } from 'node:crypto'
import {
  chmodSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect as tlsConnect } from 'node:tls'
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { createCsr } from '../../../contracts/csr.ts'
import { FeedService } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { FleetService, SignerService } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { IssuerService } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import { SpiffeWorkloadAPIService } from '../../../contracts/gen/standard/spiffe/workload/workload.ts'

interface Credential {
  /** PEM, leaf first. */
  readonly chain: string
  readonly key: string
}

interface Order {
  readonly attempt: string
  readonly target?: string
  readonly path?: string
  readonly token?: string
  /** Absent: none; `svid`: the workload's own; else what the test has forged. */
  readonly credential?: 'svid' | Credential
  readonly podUid?: string
  readonly body?: object
}

const CALL_MS = 10_000

const attempts: Readonly<Record<string, (order: Order) => Promise<unknown>>> = {
  svid: () => ownSvid(),
  feed,
  handshake,
  'issue-control': async ({ token = '', ...order }) =>
    unary(IssuerService.issueControl, { csr: csr(), token }, order),
  'issue-workload': (order) => unary(IssuerService.issueWorkload, { csr: csr() }, order),
  'issue-jwt': (order) => unary(IssuerService.issueJwt, { audience: ['someone'], spiffeId: '' }, order),
  'sign-bundle': (order) => unary(SignerService.signBundle, { digest: Buffer.alloc(32, 7) }, order),
  'report-shard': (order) =>
    unary(
      FleetService.reportShard,
      { replica: 'me', sidecars: [], revocationHead: 999_999, generation: 999_999 },
      order,
    ),
  'refresh-keys': (order) => unary(FleetService.refreshKeys, { issuer: 'shop/idp', kid: 'x' }, order),
  kubernetes,
  read: async ({ path = '' }) => errnoOf(() => readFileSync(path)),
  list: async ({ path = '' }) => errnoOf(() => readdirSync(path)),
  write: async ({ path = '' }) => errnoOf(() => writeFileSync(path, 'x')),
  remove: async ({ path = '' }) => errnoOf(() => unlinkSync(path)),
  close: async ({ path = '' }) => errnoOf(() => chmodSync(path, 0)),
  replace: async ({ path = '' }) => errnoOf(() => symlinkSync('/tmp', `${path}/link`)),
  tokens: async () => tokensOnDisk(),
  processes: async () => processes(),
  identity: async () => ({ uid: process.getuid?.(), gid: process.getgid?.(), groups: process.getgroups?.() }),
}

function csr(): Buffer {
  return createCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
}

/** The outcome of a call: its status by name, with the details after a colon; `OK` when it was answered. */
function outcomeOf(error: ServiceError | null): string {
  return error ? `${status[error.code]}: ${error.details}` : 'OK'
}

function errnoOf(act: () => unknown): string {
  try {
    act()
    return 'OK'
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code ?? String(cause)
  }
}

async function channel({ target = '', credential }: Order): Promise<Client> {
  const shown = credential === 'svid' ? await ownSvid() : credential
  // It does not care who answers: it wants in.
  const secure = credentials.createSsl(
    null,
    shown ? Buffer.from(shown.key) : null,
    shown ? Buffer.from(shown.chain) : null,
    { checkServerIdentity: () => undefined, rejectUnauthorized: false },
  )
  return new Client(`dns:///${target}`, secure, { 'grpc.enable_retries': 0 })
}

interface Method<Q, A> {
  readonly path: string
  readonly requestSerialize: (request: Q) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => A
}

async function unary<Q, A>(method: Method<Q, A>, request: Q, order: Order): Promise<string> {
  const client = await channel(order)
  const { path, requestSerialize, responseDeserialize } = method
  return new Promise<string>((resolve) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      { deadline: Date.now() + CALL_MS },
      (error) => {
        client.close()
        resolve(outcomeOf(error))
      },
    )
  })
}

/** Opens the feed, says hello and acknowledges everything that could ever come. */
async function feed(order: Order): Promise<string> {
  const client = await channel(order)
  const { path, requestSerialize, responseDeserialize } = FeedService.subscribe
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata(), {
    deadline: Date.now() + CALL_MS,
  })
  let heard = 0
  const held = {
    generation: 1_000_000_000,
    revocationHead: 1_000_000_000,
    trustSequence: 1_000_000_000,
    policyDigest: Buffer.alloc(32),
  }
  return new Promise<string>((resolve) => {
    const end = (outcome: string) => {
      client.close()
      resolve(heard > 0 ? `HEARD ${heard}, ${outcome}` : outcome)
    }
    stream.on('data', () => {
      heard += 1
      stream.cancel()
    })
    stream.on('error', (error: ServiceError) => end(outcomeOf(error)))
    stream.on('end', () => end('OK'))
    stream.write({ request: { $case: 'hello', hello: { held, version: 'forged' } } })
    for (let nonce = 0; nonce < 20; nonce++)
      stream.write({ request: { $case: 'ack', ack: { nonce: String(nonce), held } } })
  })
}

/** TLS alone: whether the server wants a certificate, and whether it goes on without one. */
function handshake({ target = '' }: Order): Promise<string> {
  const [host = '', port] = target.split(':')
  return new Promise((resolve) => {
    const socket = tlsConnect({
      host,
      port: Number(port),
      servername: host,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      timeout: CALL_MS,
    })
    let shaken = false
    socket.on('secureConnect', () => {
      shaken = true
    })
    socket.on('data', () => {
      socket.destroy()
      resolve('ANSWERED')
    })
    socket.on('timeout', () => socket.destroy(new Error('silent')))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(shaken ? 'CLOSED after the handshake' : 'CLOSED'))
  })
}

async function ownSvid(): Promise<Credential> {
  const client = new Client(process.env['SPIFFE_ENDPOINT_SOCKET'] ?? '', credentials.createInsecure())
  const { path, requestSerialize, responseDeserialize } = SpiffeWorkloadAPIService.fetchX509Svid
  const metadata = new Metadata()
  metadata.set('workload.spiffe.io', 'true')
  const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {}, metadata, {
    deadline: Date.now() + CALL_MS,
  })
  const { svids } = await new Promise<ReturnType<typeof responseDeserialize>>((resolve, reject) => {
    stream.once('data', resolve)
    stream.on('error', reject)
  })
  stream.cancel()
  client.close()
  const [first] = svids
  if (!first) throw new Error('no SVID')
  return {
    chain: certificatesOf(first.x509Svid).map(pem('CERTIFICATE')).join(''),
    key: pem('PRIVATE KEY')(first.x509SvidKey),
  }
}

/** DER certificates one after the other, apart: each begins with 30 82 and two octets of length. */
function certificatesOf(all: Uint8Array): readonly Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = 0; at < all.length; ) {
    const length = 4 + ((all[at + 2] ?? 0) << 8) + (all[at + 3] ?? 0)
    found.push(all.subarray(at, at + length))
    at += length
  }
  return found
}

const pem = (label: string) => (der: Uint8Array) =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n')}-----END ${label}-----\n`

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** The API server with the application's own service account token: the answer's code, and its body when it is a token. */
function kubernetes({ path = '', body }: Order): Promise<{ readonly code: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const asked = httpsRequest(
      {
        host: process.env['KUBERNETES_SERVICE_HOST'],
        port: process.env['KUBERNETES_SERVICE_PORT'],
        path,
        method: body ? 'POST' : 'GET',
        ca: readFileSync(`${ACCOUNT}/ca.crt`),
        headers: {
          authorization: `Bearer ${readFileSync(`${ACCOUNT}/token`, 'utf8')}`,
          'content-type': 'application/json',
        },
        timeout: CALL_MS,
      },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () =>
          resolve({ code: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        )
      },
    )
    asked.on('error', reject)
    asked.end(body ? JSON.stringify(body) : undefined)
  })
}

const JWT = /eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/g

/** Whatever looks like a JWT in a small file that can be read, or in an environment. */
function tokensOnDisk(): readonly string[] {
  const found = new Set<string>()
  const take = (text: string) => {
    for (const [token] of text.matchAll(JWT)) found.add(token)
  }
  const walk = (directory: string, depth: number): void => {
    for (const name of entriesOf(directory)) {
      const path = `${directory === '/' ? '' : directory}/${name}`
      const facts = attempt(() => statSync(path))
      if (facts?.isDirectory() && depth > 0 && !isLink(path)) walk(path, depth - 1)
      else if (facts?.isDirectory() && path.startsWith('/var/run')) walk(path, depth - 1)
      else if (facts?.isFile() && facts.size < 100_000)
        take(attempt(() => readFileSync(path, 'latin1')) ?? '')
    }
  }
  for (const place of ['/run', '/var', '/tmp', '/etc', '/home', '/root', '/mnt', '/opt']) walk(place, 8)
  for (const pid of entriesOf('/proc').filter((name) => /^\d+$/.test(name)))
    for (const file of ['environ', 'cmdline'])
      take(attempt(() => readFileSync(`/proc/${pid}/${file}`, 'latin1')) ?? '')
  return [...found]
}

function isLink(path: string): boolean {
  return attempt(() => readlinkSync(path)) !== undefined
}

function entriesOf(directory: string): readonly string[] {
  return attempt(() => readdirSync(directory)) ?? []
}

function attempt<T>(act: () => T): T | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}

/** Command lines of every process that can be seen. */
function processes(): readonly string[] {
  return entriesOf('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => (attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')) ?? '?').replaceAll('\0', ' '))
}

createServer((incoming, outgoing) => {
  const chunks: Buffer[] = []
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
  incoming.on('end', () => {
    const order = (chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString('utf8')) : {}) as Order
    const act = attempts[order.attempt]
    const answer = act ? act(order) : Promise.resolve(`no attempt is called ${order.attempt}`)
    answer.then(
      (value) => outgoing.end(JSON.stringify({ value })),
      (cause: unknown) => {
        outgoing.statusCode = 500
        outgoing.end(String(cause))
      },
    )
  })
}).listen(8080, '0.0.0.0')
process.on('SIGTERM', () => process.exit(0))
