import { question, statusOf, verdictOf } from '../fixtures/question.ts'
import { openRaw, type Reply } from '../fixtures/raw.ts'
import { asks, faultsOf, judgedAll, median, type Outcome, type Row, type Scene, TIMES } from './scene.ts'
import type { Stage } from './stage.ts'

export const rules: Scene = {
  title: 'Who may do what: tenants, owners, scopes, roles, limits (policy in WebAssembly)',
  rows: [
    asks('alice reads her private invoice', { status: 200, why: 'invoice.read.owner' }, ({ alice }) => ({
      path: '/invoices/a-1',
      token: alice,
    })),
    asks('alice edits it', { status: 200, why: 'invoice.edit.owner' }, ({ alice }) => edit(alice, 'a-1')),
    asks(
      'bob, a colleague, reads one shared in the tenant',
      { status: 200, why: 'invoice.read.colleague' },
      ({ bob }) => ({
        path: '/invoices/a-2',
        token: bob,
      }),
    ),
    asks('bob edits it: not his', { status: 403, why: 'not_owner' }, ({ bob }) => edit(bob, 'a-2')),
    asks(
      "bob reads alice's private one: does not exist for him",
      { status: 404, why: 'not_owner' },
      ({ bob }) => ({
        path: '/invoices/a-1',
        token: bob,
      }),
    ),
    hidden(),
    asks(
      'alice edits with a token for invoice:read only',
      { status: 403, why: 'insufficient_scope' },
      (cast) => edit(cast.aliceReader, 'a-1'),
    ),
    asks('alice (billing) refunds 300 of 1200', { status: 200, why: 'invoice.refund' }, ({ alice }) =>
      refund(alice, 300),
    ),
    asks('alice refunds 600: over the limit of 500', { status: 403, why: 'limit_exceeded' }, ({ alice }) =>
      refund(alice, 600),
    ),
    asks('bob refunds his own: no billing role', { status: 403, why: 'role_missing' }, ({ bob }) =>
      refund(bob, 10, 'a-3'),
    ),
    asks(
      'acme-robot (client_credentials) reads the shared one',
      { status: 200, why: 'invoice.read.colleague' },
      (cast) => ({
        path: '/invoices/a-2',
        token: cast.acmeRobot,
      }),
    ),
    asks(
      'globex-robot reads it: another tenant',
      { status: 404, why: 'tenant_mismatch' },
      ({ globexRobot }) => ({
        path: '/invoices/a-2',
        token: globexRobot,
      }),
    ),
    asks('alice calls a route that declares no action', { status: 404, why: 'undeclared' }, ({ alice }) => ({
      path: '/export',
      token: alice,
    })),
    overLoopback(),
  ],
}

export function edit(token: string, id: string) {
  return { method: 'PUT', path: `/invoices/${id}`, token, body: { memo: 'paid by hand' } }
}

export function refund(token: string, amount: number, id = 'a-1') {
  return { method: 'POST', path: `/invoices/${id}/refund`, token, body: { amount } }
}

// Existence is hidden only if nothing in the two answers differs.
function hidden(): Row {
  return {
    request: 'mallory (globex) reads it; then one that does not exist',
    expected: '404 = 404',
    play: async (stage, { mallory }) => {
      const wanted = { status: 404, why: 'tenant_mismatch' }
      const foreign = await stage.askOften({ path: '/invoices/a-2', token: mallory }, TIMES)
      const absent = await stage.askOften({ path: '/invoices/a-0', token: mallory }, TIMES)
      const outcome = judgedAll(foreign, wanted)
      const differ = absent.some(({ seen }) => seen !== foreign[0]?.seen)
      return {
        ...outcome,
        answer: `${foreign[0]?.status} = ${absent[0]?.status}`,
        faults: [
          ...(outcome.faults ?? []),
          ...(judgedAll(absent, wanted).faults ?? []),
          ...faultsOf([[differ, `the bytes differ: ${foreign[0]?.seen} | ${absent[0]?.seen}`]]),
        ],
      }
    },
  }
}

// The other listener, asked by a bare gRPC client.
function overLoopback(): Row {
  return {
    request: 'alice reads hers, asked over loopback TCP by bare gRPC',
    expected: '200',
    play: async (stage, { alice }) => viaLoopback(stage, alice),
  }
}

async function viaLoopback(stage: Stage, token: string): Promise<Outcome> {
  using raw = openRaw(stage.sidecar.tcp)
  const outcomes: Outcome[] = []
  for (let i = 0; i < TIMES; i++) {
    const start = performance.now()
    const reply = await raw.check(question({ token }))
    outcomes.push({ ...spoken(reply), seen: (performance.now() - start) * 1000 })
  }
  const [first = { answer: 'nothing', reason: '' }] = outcomes
  const unlike = outcomes.filter(({ answer }) => answer !== first.answer).length
  const seen = median(outcomes.map((outcome) => outcome.seen ?? 0))
  return { ...first, seen, faults: faultsOf([[unlike > 0, `${unlike} of ${TIMES} answers differ`]]) }
}

function spoken(reply: Reply): Outcome {
  if (!('response' in reply)) return { answer: `grpc ${reply.status.code}`, reason: reply.status.details }
  const { outcome } = reply.response
  const reason = outcome?.$case === 'allow' ? outcome.allow.ruleIds.join(', ') : verdictOf(reply.response)
  return { answer: String(statusOf(reply.response)), reason }
}
