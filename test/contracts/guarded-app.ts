import { type IncomingHttpHeaders, request, type Server } from 'node:http'
import type { HttpRequest } from '../../contracts/client.ts'
import { Reason } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { allowing, allowingWith, denying, encode, type Script } from './scripted-sidecar.ts'

export interface Invoice {
  readonly id: string
  readonly tenant: string
  readonly secret: string
}

const INVOICES: ReadonlyMap<string, Invoice> = new Map(
  [
    { id: '1', tenant: 'acme', secret: 'acme-secret' },
    { id: '2', tenant: 'globex', secret: 'globex-secret' },
  ].map((invoice) => [invoice.id, invoice]),
)

/** What a repository of the application does: find, find nothing, or break. */
export async function loadInvoice(
  id: string | undefined,
): Promise<{ stored: { type: string; id: string; tenant: string }; value: Invoice } | undefined> {
  if (id === 'broken') throw new Error('database is down: dsn-secret')
  const value = id === undefined ? undefined : INVOICES.get(id)
  return value && { stored: { type: 'invoice', id: value.id, tenant: value.tenant }, value }
}

/** Tenant isolation in miniature, in the order of the real sidecar: token first, then tenant. */
export const acmeOnly: Script = ({ question, answer }) => {
  const lines = question.headers.filter(({ name }) => name === 'authorization')
  if (lines.length > 1) return answer(encode(denying(400, Reason.REASON_AUTH_MULTIPLE)))
  if (lines[0]?.value.toString() !== 'Bearer ann')
    return answer(encode(denying(401, Reason.REASON_TOKEN_MISSING)))
  if (question.resource?.stored?.tenant !== 'acme')
    return answer(encode(denying(404, Reason.REASON_TENANT_MISMATCH)))
  const nonced = question.headers.some(({ name, value }) => name === 'dpop' && value.toString() === 'nonced')
  answer(encode(nonced ? allowingWith(NEXT_NONCE) : allowing()))
}

/** What an allowance brings for the caller's next proof. */
export const NEXT_NONCE = [
  { name: 'dpop-nonce', value: Buffer.from('v1.next') },
  { name: 'cache-control', value: Buffer.from('no-store') },
]

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Header lines but those that differ from one response to the next. */
  readonly lines: readonly string[]
  readonly body: string
}

export interface Running extends AsyncDisposable {
  readonly call: (
    path: string,
    options?: { method?: string; headers?: string[]; body?: string },
  ) => Promise<Reply>
}

export const ANN = ['authorization', 'Bearer ann']

/** Asks a listening server over real HTTP, with header lines as given, duplicates included. */
export function running(server: Server): Running {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    call: (path, { method = 'GET', headers = ANN, body } = {}) =>
      new Promise((resolve, reject) => {
        const lines = ['Host', 'app', 'Connection', 'close', ...headers]
        const sent = request(
          { host: '127.0.0.1', port, path, method, headers: lines, agent: false },
          (response) => {
            let text = ''
            response.setEncoding('utf8').on('data', (chunk: string) => {
              text += chunk
            })
            response.on('end', () => {
              const { statusCode: status = 0, headers: fields, rawHeaders } = response
              resolve({ status, headers: fields, lines: pairs(rawHeaders), body: text })
            })
            response.on('error', reject)
          },
        )
        sent.on('error', reject).end(body)
      }),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

export function listening(server: Server): Promise<Server> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

/** Collects what the guard tells the application. */
export function observer(): {
  readonly denials: string[]
  readonly errors: string[]
  readonly onDenied: (denial: { cause: string; diagnostic: { reason: string } }, request: HttpRequest) => void
  readonly onError: (error: unknown) => void
} {
  const denials: string[] = []
  const errors: string[] = []
  return {
    denials,
    errors,
    onDenied: ({ cause, diagnostic }, { url }) => void denials.push(`${url} ${cause} ${diagnostic.reason}`),
    onError: (error) => void errors.push(String(error)),
  }
}

function pairs(raw: readonly string[]): string[] {
  const lines: string[] = []
  for (let index = 0; index + 1 < raw.length; index += 2)
    lines.push(`${raw[index]?.toLowerCase()}: ${raw[index + 1]}`)
  return lines.filter((line) => !line.startsWith('date:')).sort()
}
