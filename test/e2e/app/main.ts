// The sample application of the end-to-end tests, as it runs in its pods: it asks its sidecar once on request, or keeps asking and
// remembers what it was told. It never decides anything itself.
import { createServer } from 'node:http'
import { Client, credentials } from '@grpc/grpc-js'
import { createAuthorizerClient, isAllowance } from '../../../contracts/client.ts'

interface Question {
  readonly token: string
  // A DPoP proof; the token is then sent under that scheme.
  readonly proof?: string
  readonly action: string
  readonly stored: {
    readonly type: string
    readonly id: string
    readonly tenant: string
    readonly owner: string
  }
}

const client = createAuthorizerClient({ target: process.env['PORTCULLIS_TARGET'] ?? '', deadlineMs: 20_000 })

interface Told {
  readonly outcome: string
  // Of the nonce that came with it; empty without one.
  readonly nonce: string
}

async function ask({ token, proof, action, stored }: Question): Promise<Told> {
  const credentials =
    proof === undefined
      ? [{ name: 'authorization', value: `Bearer ${token}` }]
      : [
          { name: 'authorization', value: `DPoP ${token}` },
          { name: 'dpop', value: proof },
        ]
  const decision = await client.check({
    headers: credentials,
    method: 'GET',
    url: 'https://api.demo.example/',
    action,
    resource: { stored },
  })
  const { headers } = isAllowance(decision) ? decision : decision.client
  return {
    outcome: isAllowance(decision) ? 'allow' : decision.diagnostic.reason,
    nonce: headers.find(({ name }) => name.toLowerCase() === 'dpop-nonce')?.value ?? '',
  }
}

interface Call {
  readonly target: string
  readonly method: string
  // Base64.
  readonly message: string
}

// Any call to any address that this container can reach; the answer in base64, or the number of the gRPC status.
function call({
  target,
  method,
  message,
}: Call): Promise<{ readonly code: number; readonly answer: string }> {
  const same = (bytes: Buffer): Buffer => bytes
  const raw = new Client(target, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 })
  const { promise, resolve } = Promise.withResolvers<{ code: number; answer: string }>()
  const deadline = Date.now() + 5_000
  raw.makeUnaryRequest(method, same, same, Buffer.from(message, 'base64'), { deadline }, (error, answer) => {
    raw.close()
    resolve({ code: error?.code ?? 0, answer: answer?.toString('base64') ?? '' })
  })
  return promise
}

interface Change {
  readonly at: number
  readonly outcome: string
}

// Streams of questions by name; each remembers how many of each outcome there were and when the outcome changed.
interface Traffic {
  question: Question
  counts: Record<string, number>
  changes: Change[]
  readonly timer: NodeJS.Timeout
}
const streams = new Map<string, Traffic>()

function start(name: string, question: Question, everyMs: number): void {
  const former = streams.get(name)
  if (former) {
    former.question = question
    return
  }
  const traffic: Traffic = {
    question,
    counts: {},
    changes: [],
    timer: setInterval(() => void tick(), everyMs),
  }
  const tick = async (): Promise<void> => {
    const { outcome } = await ask(traffic.question)
    traffic.counts[outcome] = (traffic.counts[outcome] ?? 0) + 1
    if (traffic.changes.at(-1)?.outcome !== outcome) traffic.changes.push({ at: Date.now(), outcome })
  }
  streams.set(name, traffic)
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body =
      chunks.length > 0 ? (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, unknown>) : {}
    answer(request.url ?? '/', body).then(
      (value) => response.end(JSON.stringify(value)),
      (cause: unknown) => {
        response.statusCode = 500
        response.end(String(cause))
      },
    )
  })
})

async function answer(url: string, body: Record<string, unknown>): Promise<unknown> {
  const question = body as unknown as Question
  const name = String(body['name'] ?? 'default')
  switch (url) {
    case '/check':
      return ask(question)
    case '/traffic/start':
      start(name, question, Number(body['everyMs'] ?? 100))
      return {}
    case '/traffic/read': {
      const found = streams.get(name)
      return { counts: found?.counts ?? {}, changes: found?.changes ?? [] }
    }
    case '/traffic/reset': {
      const found = streams.get(name)
      if (found) {
        found.counts = {}
        found.changes = []
      }
      return {}
    }
    case '/traffic/stop': {
      const found = streams.get(name)
      if (found) clearInterval(found.timer)
      streams.delete(name)
      return {}
    }
    case '/call':
      return call(body as unknown as Call)
    case '/env':
      return { names: Object.keys(process.env).sort(), values: process.env }
    default:
      return { ok: true }
  }
}

server.listen(Number(process.env['PORT'] ?? 8080), '0.0.0.0')
process.on('SIGTERM', () => server.close(() => process.exit(0)))
