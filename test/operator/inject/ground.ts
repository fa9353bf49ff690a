import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { type Api, openApi } from '../../cluster-node/api.ts'
import { ROOT, tool } from '../../cluster-node/tool.ts'

// What tests of admission share: our manifests in a real API server, and plain requests to it.

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: whatever the API server says
  readonly body: any
  readonly headers: IncomingHttpHeaders
}

/** What the API server said: the message of a Status. */
export function messageOf({ body }: Answer): string {
  return typeof body === 'string' ? body : String(body.message ?? '')
}

/** Sends JSON as the administrator, or as whom the headers impersonate. */
export type Ask = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<Answer>

/** A real API server with our CRDs and those of our admission manifests that `keep` lets through. */
export interface Ground extends AsyncDisposable {
  readonly api: Api
  readonly ask: Ask
  /** Also its service account `default`, which no controller makes here. */
  namespace(name: string, labels?: object): Promise<void>
  /** Tried only, nothing is stored. */
  create(namespace: string, pod: Any): Promise<Answer>
  /** Stored; gives the path of the pod. */
  store(namespace: string, pod: Any, name: string): Promise<string>
  /** Server-side, as Helm does. */
  apply(manifests: readonly object[]): Promise<void>
  /** A ClusterRole for a user; give it a moment (`until`). */
  allow(user: string, rules: readonly object[]): Promise<void>
}

// biome-ignore lint/suspicious/noExplicitAny: tests send pods that types forbid
type Any = any

export const OURS = '/apis/portcullis.dev/v1alpha1'

export async function openGround(keep: (manifest: Manifest) => boolean): Promise<Ground> {
  const api = await openApi()
  const ask = await askerOf(api)
  await applyCrds(api)
  await applyAll(api, (await rendered()).filter(keep))
  const pods = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`
  return {
    api,
    ask,
    namespace: async (name, labels = {}) => {
      await ask('POST', '/api/v1/namespaces', { metadata: { name, labels } })
      await ask('POST', `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } })
    },
    create: (namespace, pod) => {
      const metadata = { ...pod.metadata, namespace }
      return ask('POST', `${pods(namespace)}?dryRun=All`, { ...pod, metadata })
    },
    store: async (namespace, pod, name) => {
      const answer = await ask('POST', pods(namespace), {
        ...pod,
        metadata: { ...pod.metadata, namespace, name },
      })
      if (answer.status !== 201) throw new Error(messageOf(answer))
      return `${pods(namespace)}/${name}`
    },
    apply: (manifests) => applyAll(api, manifests),
    allow: async (user, rules) => {
      const group = 'rbac.authorization.k8s.io'
      await ask('POST', `/apis/${group}/v1/clusterroles`, { metadata: { name: user }, rules })
      await ask('POST', `/apis/${group}/v1/clusterrolebindings`, {
        metadata: { name: user },
        roleRef: { apiGroup: group, kind: 'ClusterRole', name: user },
        subjects: [{ apiGroup: group, kind: 'User', name: user }],
      })
    },
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

/** All our policies and no webhook. */
export function isPolicy({ kind }: Manifest): boolean {
  return kind.startsWith('ValidatingAdmissionPolicy')
}

async function askerOf(api: Api): Promise<Ask> {
  const admin = await api.user('admission-tests', ['system:masters'])
  const [ca, cert, key] = [api.caFile, admin.cert, admin.key].map((file) => readFileSync(file))
  return (method, path, body, headers = {}) =>
    new Promise((resolve, reject) => {
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
      const options = { method, ca, cert, key, headers: { 'content-type': type, ...headers } }
      const sent = request(`${api.url}${path}`, options as object, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8')
          const read = text.startsWith('{') ? JSON.parse(text) : text
          resolve({ status: response.statusCode ?? 0, body: read, headers: response.headers })
        })
      })
      sent.on('error', reject)
      sent.end(body === undefined ? undefined : JSON.stringify(body))
    })
}

export interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  // biome-ignore lint/suspicious/noExplicitAny: manifests are changed freely by tests
  readonly webhooks?: any[]
}

/** The admission folder of the chart alone, rendered by helm, so that a test does not depend on the rest of the chart. */
export async function rendered(): Promise<readonly Manifest[]> {
  const parent = join(tmpdir(), 'portcullis-admission-')
  const directory = mkdtempSync(parent)
  try {
    mkdirSync(join(directory, 'templates'))
    writeFileSync(join(directory, 'Chart.yaml'), 'apiVersion: v2\nname: portcullis\nversion: 0.0.0\n')
    const folder = 'templates/admission'
    cpSync(join(ROOT, 'charts/portcullis', folder), join(directory, folder), { recursive: true })
    const args = ['template', 'portcullis', directory, '--namespace', 'portcullis-system']
    const { stdout } = await promisify(execFile)(await tool('helm'), args, { maxBuffer: 8 * 1024 * 1024 })
    return parseAllDocuments(stdout)
      .map((document) => document.toJS() as Manifest | null)
      .filter((one): one is Manifest => one !== null)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function applyAll(api: Api, manifests: readonly object[]): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: manifests }
  await api.kubectl(['apply', '--server-side', '-f', '-'], { stdin: JSON.stringify(list) })
}

async function applyCrds(api: Api): Promise<void> {
  const folder = join(ROOT, 'contracts/crd')
  await api.kubectl(['apply', '--server-side', '-f', folder])
  await api.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s'])
}

/** Polls, as policies and RBAC take a moment until the API server goes by them. */
export async function until(what: string, claim: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000
  while (!(await claim())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
