import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createCertificateMaker } from '../../operator/identity/serving.ts'
import { type Cluster, openCluster } from '../cluster-node/cluster.ts'
import { layoutOf } from '../cluster-node/layout.ts'
import { ROOT, tool } from '../cluster-node/tool.ts'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { buildImages, type ImageBuilt } from '../images/build.ts'
import { appImage } from './app-image.ts'

export const SYSTEM = 'portcullis-system'
export const TRUST_DOMAIN = 'cluster.example'
export const ISSUER = 'https://idp.shop.svc.cluster.local'
export const AUDIENCE = 'https://api.shop.example'
export const NAMESPACE = 'shop'

const run = promisify(execFile)

/** A real cluster with a real provider in front of it; Portcullis is not installed yet. */
export interface World extends AsyncDisposable {
  readonly cluster: Cluster
  readonly idp: Idp
  /** PEM of the authority that signs the provider's server. */
  readonly caPem: string
  readonly images: Readonly<Record<'sidecar' | 'operator' | 'probe' | 'sample' | 'plain', ImageBuilt>>
  helm(args: readonly string[], timeoutMs?: number): Promise<string>
  kubectl(args: readonly string[], stdin?: string): Promise<string>
  /** The object, parsed. */
  get(kind: string, name: string, namespace?: string): Promise<Resource>
  apply(yaml: string): Promise<void>
  /** Values of the chart that this world needs, as arguments of helm. */
  readonly values: readonly string[]
}

export interface Resource {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly generation?: number
    readonly annotations?: Record<string, string>
  }
  readonly spec: Record<string, never>
  readonly status: Record<string, never>
}

export async function openWorld(name: string): Promise<World> {
  const built = await buildImages({ only: ['sidecar', 'operator', 'spiffe-probe', 'testapp'] })
  const { sidecar, operator, 'spiffe-probe': probe, testapp: plain } = built
  if (!sidecar || !operator || !probe || !plain) throw new Error('an image is missing: run make build')
  const images = { sidecar, operator, probe, plain, sample: appImage() }
  const stack = new AsyncDisposableStack()
  const archives = Object.values(images).map(({ archive }) => archive)
  const cluster = stack.use(await openCluster({ name, images: archives }))
  const idp = stack.use(await startIdp({ issuer: ISSUER, audience: AUDIENCE, tokenTtlS: 600 }))
  const front = stack.use(await openFront(cluster.hostAddress, idp.base))
  stack.use(await openRoute(layoutOf(cluster.name, cluster.slot).podCidr, cluster.nodeAddress))
  const helmPath = await tool('helm')
  const env = {
    ...process.env,
    KUBECONFIG: cluster.kubeconfig,
    HELM_CACHE_HOME: join('/tmp', `helm-${name}`),
  }
  const world: World = {
    cluster,
    idp,
    caPem: front.caPem,
    images,
    values: [
      ...['--set', `trustDomain=${TRUST_DOMAIN}`],
      ...['--set', 'image.repository=portcullis.test/operator', '--set', `image.digest=${operator.digest}`],
      ...[
        '--set',
        'sidecar.image.repository=portcullis.test/sidecar',
        '--set',
        `sidecar.image.digest=${sidecar.digest}`,
      ],
    ],
    async helm(args, timeoutMs = 240_000) {
      const { stdout } = await run(helmPath, [...args], { env, timeout: timeoutMs, maxBuffer: 1 << 26 })
      return stdout
    },
    kubectl: (args, stdin) => cluster.kubectl(args, stdin === undefined ? {} : { stdin }),
    get: async (kind, one, namespace) =>
      JSON.parse(
        await cluster.kubectl(['get', kind, one, '-o', 'json', ...(namespace ? ['-n', namespace] : [])]),
      ) as Resource,
    apply: async (yaml) =>
      void (await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
        stdin: yaml,
      })),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
  await world.apply(providerService(cluster.hostAddress, front.port))
  return world
}

/** TLS in front of the provider, under the name that its Service has in the cluster. */
async function openFront(host: string, base: string) {
  const maker = createCertificateMaker(randomBytes)
  const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 86_400_000 }
  const ca = await maker.makeCa('provider test authority', validity)
  const leaf = await maker.makeLeaf(ca, [new URL(ISSUER).hostname], validity)
  const server = createHttpsServer({ key: leaf.key, cert: leaf.certificate }, (incoming, outgoing) => {
    const { method, url, headers } = incoming
    const through = httpRequest(
      new URL(url ?? '/', base),
      {
        method: method ?? 'GET',
        headers: { ...headers, host: new URL(ISSUER).host, 'x-forwarded-proto': 'https' },
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      },
    )
    through.on('error', () => outgoing.writeHead(502).end())
    incoming.pipe(through)
  })
  await new Promise<void>((done) => server.listen(0, host, done))
  const address = server.address()
  return {
    caPem: ca.certificate,
    port: typeof address === 'object' && address ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

/** Pod addresses from the test, for as long as it runs. */
async function openRoute(pods: string, node: string) {
  await run('ip', ['route', 'replace', pods, 'via', node])
  return {
    [Symbol.asyncDispose]: async () => {
      await run('ip', ['route', 'del', pods]).catch(() => undefined)
    },
  }
}

function providerService(address: string, port: number): string {
  return `
apiVersion: v1
kind: Namespace
metadata: { name: ${NAMESPACE}, labels: { pod-security.kubernetes.io/enforce: restricted } }
---
apiVersion: v1
kind: Service
metadata: { name: idp, namespace: ${NAMESPACE} }
spec:
  ports: [{ name: https, port: 443, targetPort: ${port} }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: idp, namespace: ${NAMESPACE}, labels: { kubernetes.io/service-name: idp } }
addressType: IPv4
ports: [{ name: https, port: ${port}, protocol: TCP }]
endpoints: [{ addresses: ["${address}"], conditions: { ready: true } }]
`
}

/** One question to one pod's application. */
export async function post<T>(ip: string, path: string, body: object, port = 8080): Promise<T> {
  const response = await fetch(`http://${ip}:${port}${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as T
}

/** Tries until `check` holds; what it said last is in the error. Resolves with the seconds that it took. */
export async function eventually(
  what: string,
  check: () => Promise<string | undefined>,
  limitMs = 120_000,
): Promise<number> {
  const began = performance.now()
  let last: string | undefined = 'never looked'
  while (performance.now() - began < limitMs) {
    last = await check().catch((cause: unknown) => (cause instanceof Error ? cause.message : String(cause)))
    if (last === undefined) return (performance.now() - began) / 1000
    await delay(50)
  }
  throw new Error(`${what}: not within ${limitMs} ms; last: ${last}`)
}

export const indented = (text: string, spaces: number): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => ' '.repeat(spaces) + line)
    .join('\n')

export function policySource(file: string): string {
  return readFileSync(join(ROOT, 'policies', file), 'utf8')
}
