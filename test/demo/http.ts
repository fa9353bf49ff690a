import { Agent, request } from 'node:http'

// A caller of the sample application that can send what fetch cannot: the same header twice.

export interface Ask {
  readonly method?: string
  readonly path: string
  readonly token?: string
  // Whole Authorization lines instead of `Bearer <token>`.
  readonly authorization?: readonly string[]
  // A DPoP proof (RFC 9449), sent beside them.
  readonly proof?: string
  readonly body?: Readonly<Record<string, unknown>>
  readonly id: string
}

export interface Reply {
  readonly status: number
  readonly body: string
  // Status, header lines and body as received, without `Date` and `DPoP-Nonce`: what a caller could compare.
  readonly seen: string
  // Of the latter; empty without one.
  readonly nonce: string
}

export interface Caller extends Disposable {
  ask(ask: Ask): Promise<Reply>
}

const ANSWER_WITHIN_MS = 5_000

export function createCaller(port: number): Caller {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  return {
    ask: (ask) => send(agent, port, ask),
    [Symbol.dispose]: () => agent.destroy(),
  }
}

function send(agent: Agent, port: number, ask: Ask): Promise<Reply> {
  const { method = 'GET', path, token, authorization = token === undefined ? [] : [`Bearer ${token}`] } = ask
  const text = ask.body === undefined ? '' : JSON.stringify(ask.body)
  const lines = [
    ['host', `127.0.0.1:${port}`],
    ['x-request-id', ask.id],
  ]
  for (const value of authorization) lines.push(['authorization', value])
  if (ask.proof !== undefined) lines.push(['dpop', ask.proof])
  if (text)
    lines.push(['content-type', 'application/json'], ['content-length', String(Buffer.byteLength(text))])
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS)
    const call = request({ agent, host: '127.0.0.1', port, method, path, headers: lines.flat(), signal })
    call.once('error', reject)
    call.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () => {
        const status = response.statusCode ?? 0
        const body = Buffer.concat(chunks).toString()
        const { 'dpop-nonce': nonce = '' } = response.headers
        const seen = [status, ...headerLines(response.rawHeaders), body].join('\n')
        resolve({ status, body, seen, nonce: String(nonce) })
      })
    })
    call.end(text)
  })
}

const CHANGING = new Set(['date', 'dpop-nonce'])

function headerLines(raw: readonly string[]): readonly string[] {
  const lines: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    if (!CHANGING.has(raw[i]?.toLowerCase() ?? '')) lines.push(`${raw[i]}: ${raw[i + 1]}`)
  }
  return lines
}
