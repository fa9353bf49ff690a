import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { resolve } from 'node:path'
import { API_VERSION, RESOURCES } from '../../contracts/crd.ts'
import type { Api } from '../cluster-node/api.ts'
import type { Rows } from '../contracts/crd/rows/row.ts'
import { NAMESPACE } from '../contracts/crd/rows/row.ts'

// The real API server with our CRDs, asked in plain HTTP: kubectl would add words of its own to a refusal.

const CRDS = resolve(import.meta.dirname, '../../contracts/crd')

export interface Answer {
  readonly code: number
  // The API server's JSON; each test knows what it asked for.
  // biome-ignore lint/suspicious/noExplicitAny: an answer of any kind
  readonly body: any
}

export interface Cause {
  readonly field: string
  readonly message: string
}

export interface Server {
  create(rows: Rows, object: object, options?: { readonly dryRun: true }): Promise<Answer>
  replace(rows: Rows, object: object, subresource?: 'status'): Promise<Answer>
  /** Server-side apply. */
  apply(rows: Rows, object: object, options: ApplyOptions): Promise<Answer>
  read(rows: Rows, name: string): Promise<Answer>
}

export interface ApplyOptions {
  readonly manager: string
  readonly subresource?: 'status'
}

/** Installs every CRD as kubectl would, waits until all are established, and makes the namespace of the rows. */
export async function install(api: Api): Promise<void> {
  const files = Object.values(RESOURCES).flatMap(({ plural }) => ['-f', `${CRDS}/${plural}.yaml`])
  await api.kubectl(['apply', '--server-side', ...files])
  await api.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all'])
  await api.kubectl(['create', 'namespace', NAMESPACE])
}

export async function connect(api: Api): Promise<Server> {
  const { cert, key } = await api.user('crd-tests', ['system:masters'])
  const agent = new Agent({
    keepAlive: true,
    ca: readFileSync(api.caFile),
    cert: readFileSync(cert),
    key: readFileSync(key),
  })
  const ask = (method: string, path: string, body?: object) =>
    send({ agent, url: api.url, method, path, body })
  return {
    create: (rows, object, options) =>
      ask('POST', `${pathOf(rows)}?${STRICT}${options?.dryRun ? '&dryRun=All' : ''}`, object),
    replace: (rows, object, subresource) =>
      ask('PUT', `${pathOf(rows, nameOf(object), subresource)}?${STRICT}`, object),
    apply: (rows, object, { manager, subresource }) =>
      ask('PATCH', `${pathOf(rows, nameOf(object), subresource)}?${STRICT}&fieldManager=${manager}`, object),
    read: (rows, name) => ask('GET', pathOf(rows, name)),
  }
}

export function causesOf({ body }: Answer): readonly Cause[] {
  return body.details?.causes ?? []
}

const STRICT = 'fieldValidation=Strict'

function pathOf({ definition: { resource } }: Rows, name?: string, subresource?: string): string {
  const place = resource.scope === 'Namespaced' ? `namespaces/${NAMESPACE}/` : ''
  return [`/apis/${API_VERSION}/${place}${resource.plural}`, name, subresource].filter(Boolean).join('/')
}

function nameOf(object: object): string {
  return (object as { readonly metadata: { readonly name: string } }).metadata.name
}

interface Question {
  readonly agent: Agent
  readonly url: string
  readonly method: string
  readonly path: string
  readonly body: object | undefined
}

function send({ agent, url, method, path, body }: Question): Promise<Answer> {
  const type = method === 'PATCH' ? 'application/apply-patch+yaml' : 'application/json'
  return new Promise((done, failed) => {
    const asked = request(
      new URL(path, url),
      { agent, method, headers: { 'content-type': type } },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', failed)
        response.once('end', () =>
          done({ code: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) }),
        )
      },
    )
    asked.once('error', failed)
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}
