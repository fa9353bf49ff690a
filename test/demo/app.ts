import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { createAuthorizerClient, type Decision, type Denial } from '../../contracts/client.ts'
import { createGuard, type Granted, type Loaded, type Params } from '../../contracts/guard.ts'
import type { AppEvent } from './app-log.ts'
import { createInvoices, type Invoice } from './invoices.ts'

// The sample application, as a user of the product would write it: plain node:http, the client, the guard,
// a table of invoices. Argument: the sidecar's address. Its own log goes to stdout.

const target = process.argv[2] ?? ''
const invoices = createInvoices()
// Longer than the default of 250 ms: provider, sidecar, application and load share whatever machine this is.
const client = createAuthorizerClient({ target, deadlineMs: 1_000 })
const durations = new WeakMap<Decision, number>()
const guard = createGuard({
  client: { check: timed },
  onDenied: (denial, request) => log(refusal(denial, requestIdIn(request.rawHeaders))),
})

const server = createServer(
  guard.http({
    'GET /invoices/:id': guard.route({ action: 'invoice:read', load, handler: serve(show) }),
    'PUT /invoices/:id': guard.route({ action: 'invoice:edit', load: loadWithBody, handler: serve(edit) }),
    'DELETE /invoices/:id': guard.route({ action: 'invoice:delete', load, handler: serve(remove) }),
    'POST /invoices/:id/refund': guard.route({
      action: 'invoice:refund',
      load: loadWithBody,
      handler: serve(show),
    }),
    'GET /counts': guard.open({
      because: 'four numbers',
      handler: (_req, res) => answer(res, guard.counts()),
    }),
  }),
)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address) log({ event: 'listening', port: address.port })
})
process.once('SIGTERM', () => {
  client.close()
  server.close()
  server.closeAllConnections()
})

interface Opened {
  readonly invoice: Invoice
  readonly body: Readonly<Record<string, unknown>>
}

function load(_request: IncomingMessage, { id = '' }: Params): Loaded<Opened> | undefined {
  const invoice = invoices.find(id)
  return invoice && loaded({ invoice, body: {} })
}

async function loadWithBody(
  request: IncomingMessage,
  { id = '' }: Params,
): Promise<Loaded<Opened> | undefined> {
  const body: unknown = await json(request).catch(() => undefined)
  const invoice = invoices.find(id)
  return invoice && loaded({ invoice, body: typeof body === 'object' && body !== null ? { ...body } : {} })
}

// What is stored and what was sent stay apart: rules of tenancy and ownership read the former only.
function loaded(value: Opened): Loaded<Opened> {
  const { id, tenant, owner, status, visibility, amount } = value.invoice
  const stored = { type: 'invoice', id, tenant, owner, attributes: { status, visibility, amount } }
  return { stored, request: value.body, value }
}

type Work = (opened: Opened) => unknown

// A handler that says so in the log: the demo counts what was served.
function serve(work: Work) {
  return (request: IncomingMessage, response: ServerResponse, granted: Granted<Opened>) => {
    const id = requestIdIn(request.rawHeaders)
    const { allowance } = granted
    log({ event: 'served', request: id })
    log({
      event: 'checked',
      request: id,
      allowed: true,
      status: 200,
      reason: '',
      rules: allowance.ruleIds,
      detail: '',
      decision: allowance.decisionId,
      revision: allowance.policyRevision,
      micros: durations.get(allowance) ?? 0,
    })
    answer(response, work(granted.resource))
  }
}

function show({ invoice }: Opened): unknown {
  return invoice
}

function edit({ invoice, body }: Opened): unknown {
  invoice.memo = String(body['memo'] ?? '')
  return invoice
}

function remove({ invoice }: Opened): unknown {
  invoices.remove(invoice.id)
  return { removed: invoice.id }
}

function answer(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
}

async function timed(...question: Parameters<typeof client.check>): Promise<Decision> {
  const start = performance.now()
  const decision = await client.check(...question)
  durations.set(decision, (performance.now() - start) * 1000)
  return decision
}

function refusal(denial: Denial, request: string): AppEvent {
  const { cause, client: shown, diagnostic } = denial
  return {
    event: 'checked',
    request,
    allowed: false,
    status: shown.status,
    reason: cause === 'sidecar' ? diagnostic.reason : cause,
    rules: diagnostic.ruleIds,
    detail: diagnostic.detail ?? '',
    decision: denial.decisionId ?? '',
    revision: denial.policyRevision ?? '',
    micros: durations.get(denial) ?? 0,
  }
}

function requestIdIn(raw: readonly string[]): string {
  const at = raw.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'x-request-id')
  return at < 0 ? '' : (raw[at + 1] ?? '')
}

function log(event: AppEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}
