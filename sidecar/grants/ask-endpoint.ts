import type { Posted, PostForm } from '../../contracts/post.ts'
import type { ClientCredential, Monotonic, OwnCredential, Report, Sleep } from '../ports.ts'
import type { AskEndpoint, Endpoint, EndpointAnswer, EndpointQuestion } from '../trust/endpoint.ts'
import { ASSERTION_TYPE, type MakeAssertion } from './client-assertion.ts'
import { createGate, type Gate } from './gate.ts'

export interface AskNeeds {
  readonly post: PostForm
  readonly credential: OwnCredential
  readonly assertion: MakeAssertion
  readonly now: Monotonic
  readonly sleep: Sleep
  readonly report: Report
}

export interface Asker {
  readonly ask: AskEndpoint
  /** Endpoints that are left alone now. */
  readonly open: () => number
}

/** Answers that are read, bytes; endpoints that are kept apart from each other. */
const MAX_ANSWER_BYTES = 64 * 1024
const MOST_ENDPOINTS = 64
const UNAVAILABLE: EndpointAnswer = Object.freeze({ kind: 'unavailable' })

/** Asks endpoints of authorization servers as the workload, behind one gate each: no secret that does not change is ever sent. */
export function createAskEndpoint(needs: AskNeeds): Asker {
  const gates = new Map<string, Gate>()
  const gateOf = ({ url }: Endpoint): Gate | undefined => {
    const known = gates.get(url)
    if (known || gates.size >= MOST_ENDPOINTS) return known
    const changed = (state: string) => needs.report('endpoint_left_alone', { url, state })
    const gate = createGate({ ...needs, changed })
    gates.set(url, gate)
    return gate
  }
  const asked: AskEndpoint = async (question, signal) => {
    const { timeoutMs } = question.endpoint
    const gate = gateOf(question.endpoint)
    const startedAt = needs.now()
    if (!(await gate?.enter(question.unproven, timeoutMs, signal))) return UNAVAILABLE
    let outcome: 'answered' | 'failed' | 'given up' = 'given up'
    try {
      // What was waited for comes off what there is.
      const leftMs = timeoutMs - Math.round(needs.now() - startedAt)
      if (leftMs <= 0) return UNAVAILABLE
      const posted = await ask(question, needs, leftMs, signal)
      if (!posted) return UNAVAILABLE
      outcome = outcomeOf(posted, signal)
      if (outcome === 'failed') tell(posted, question.endpoint, needs.report)
      if (posted.kind === 'answered')
        return { kind: 'answered', status: posted.status, body: posted.json ? posted.body : undefined }
      return posted.kind === 'unusable' ? { kind: 'answered', status: 200, body: undefined } : UNAVAILABLE
    } finally {
      gate?.leave(outcome)
    }
  }
  return { ask: asked, open: () => [...gates.values()].filter((gate) => gate.open()).length }
}

async function ask(
  { endpoint, issuer, form }: EndpointQuestion,
  needs: AskNeeds,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Posted | undefined> {
  const credential = await needs.credential()
  const proof = credential && proofOf(credential, endpoint, issuer, needs.assertion)
  if (!proof) {
    needs.report('endpoint_not_asked', { url: endpoint.url, problem: 'the workload cannot say who it is' })
    return undefined
  }
  const { insecureLoopback, privateAddresses, ca } = endpoint
  const rules = { insecureLoopback, privateAddresses, ca, timeoutMs, maxBytes: MAX_ANSWER_BYTES }
  return needs.post(endpoint.url, { ...form, ...proof.form }, { ...rules, client: proof.client }, signal)
}

/** How a client proves who it is: by its certificate (RFC 8705 section 2), or by its signature (RFC 7523 section 2.2). */
function proofOf(credential: ClientCredential, endpoint: Endpoint, issuer: string, assertion: MakeAssertion) {
  const clientId = endpoint.clientId || credential.spiffeId
  if (clientId === '') return undefined
  const form = { client_id: clientId }
  if (endpoint.authentication === 'mtls')
    return { form, client: { cert: credential.cert, key: credential.key } }
  const text = assertion({ clientId, audience: issuer, privateKey: credential.privateKey })
  if (!text) return undefined
  return {
    form: { ...form, client_assertion_type: ASSERTION_TYPE, client_assertion: text },
    client: undefined,
  }
}

const TOO_MANY = 429

function outcomeOf(posted: Posted, signal: AbortSignal): 'answered' | 'failed' | 'given up' {
  if (posted.kind === 'unreachable') return signal.aborted ? 'given up' : 'failed'
  return posted.kind === 'answered' && (posted.status >= 500 || posted.status === TOO_MANY)
    ? 'failed'
    : 'answered'
}

function tell(posted: Posted, { url }: Endpoint, report: Report): void {
  const problem = posted.kind === 'answered' ? `answered with status ${posted.status}` : posted.why
  report('endpoint_failed', { url, problem })
}
