import type { Posted, PostForm } from '../../contracts/post.ts'
import type { ClientCredential, Monotonic, OwnCredential, Report, Sleep } from '../ports.ts'
import type { AskEndpoint, Endpoint, EndpointAnswer, EndpointQuestion } from '../trust/endpoint.ts'
import { ASSERTION_TYPE, type MakeAssertion } from './client-assertion.ts'
import { createGate, type Gate } from './gate.ts'

export interface AskNeeds {
  /** URLs that may be asked as things are; `undefined` while nothing is believed. */
  readonly configured: () => ReadonlySet<string> | undefined
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

/** Answers that are read, bytes; how long the same trouble with an endpoint is told once, milliseconds. */
const MAX_ANSWER_BYTES = 64 * 1024
const TELL_AGAIN_MS = 10_000
const UNAVAILABLE: EndpointAnswer = Object.freeze({ kind: 'unavailable' })

/** Asks endpoints of authorization servers as the workload, behind one gate each: no secret that does not change is ever sent. */
export function createAskEndpoint(needs: AskNeeds): Asker {
  const doors = new Map<string, Door>()
  // As many as the configuration names, and one that it has just ceased to name. One that stays in it is never forgotten: its failures
  // count for as long as it may be asked.
  const forgetOthers = (): void => {
    const configured = needs.configured()
    for (const url of doors.keys()) if (configured?.has(url) === false) doors.delete(url)
  }
  const doorOf = ({ url }: Endpoint): Door => {
    const known = doors.get(url)
    if (known) return known
    forgetOthers()
    const door = openDoor(url, needs)
    doors.set(url, door)
    return door
  }
  const asked: AskEndpoint = async (question, signal) => {
    const { timeoutMs } = question.endpoint
    const { gate, tell } = doorOf(question.endpoint)
    const startedAt = needs.now()
    if (!(await gate.enter(question.unproven, timeoutMs, signal))) return UNAVAILABLE
    let outcome: 'answered' | 'failed' | 'given up' = 'given up'
    try {
      // What was waited for comes off what there is.
      const leftMs = timeoutMs - Math.round(needs.now() - startedAt)
      if (leftMs <= 0) return UNAVAILABLE
      const posted = await ask(question, needs, leftMs, signal)
      if (!posted) {
        tell('endpoint_not_asked', 'the workload cannot say who it is')
        return UNAVAILABLE
      }
      outcome = outcomeOf(posted, signal)
      if (outcome === 'failed') tell('endpoint_failed', problemOf(posted))
      if (posted.kind === 'answered')
        return { kind: 'answered', status: posted.status, body: posted.json ? posted.body : undefined }
      return posted.kind === 'unusable' ? { kind: 'answered', status: 200, body: undefined } : UNAVAILABLE
    } finally {
      gate.leave(outcome)
    }
  }
  const open = (): number => {
    forgetOthers()
    return [...doors.values()].filter(({ gate }) => gate.open()).length
  }
  return { ask: asked, open }
}

/** What is kept of one endpoint. */
interface Door {
  readonly gate: Gate
  /** Tells of trouble, not more often than anybody would read it. */
  readonly tell: (event: 'endpoint_failed' | 'endpoint_not_asked', problem: string) => void
}

function openDoor(url: string, needs: AskNeeds): Door {
  const changed = (state: string) => needs.report('endpoint_left_alone', { url, state })
  const toldAt = { endpoint_failed: Number.NEGATIVE_INFINITY, endpoint_not_asked: Number.NEGATIVE_INFINITY }
  return {
    gate: createGate({ ...needs, changed }),
    tell(event, problem) {
      const at = needs.now()
      if (at - toldAt[event] < TELL_AGAIN_MS) return
      toldAt[event] = at
      needs.report(event, { url, problem })
    },
  }
}

async function ask(
  { endpoint, issuer, form }: EndpointQuestion,
  needs: AskNeeds,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Posted | undefined> {
  const credential = await needs.credential()
  const proof = credential && proofOf(credential, endpoint, issuer, needs.assertion)
  if (!proof) return undefined
  const { insecureLoopback, privateAddresses, ca } = endpoint
  const rules = { insecureLoopback, privateAddresses, ca, timeoutMs, maxBytes: MAX_ANSWER_BYTES }
  const whole = () => ({ ...form, ...proof.form() })
  return needs.post(endpoint.url, whole, { ...rules, client: proof.client }, signal)
}

/** How a client proves who it is: by its certificate (RFC 8705 section 2), or by its signature (RFC 7523 section 2.2). */
function proofOf(credential: ClientCredential, endpoint: Endpoint, issuer: string, assertion: MakeAssertion) {
  const clientId = endpoint.clientId || credential.spiffeId
  if (clientId === '') return undefined
  const form = { client_id: clientId }
  if (endpoint.authentication === 'mtls')
    return { form: () => form, client: { cert: credential.cert, key: credential.key } }
  const another = assertion({ clientId, audience: issuer, privateKey: credential.privateKey })
  if (!another) return undefined
  return {
    form: () => ({ ...form, client_assertion_type: ASSERTION_TYPE, client_assertion: another() }),
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

function problemOf(posted: Posted): string {
  return posted.kind === 'answered' ? `answered with status ${posted.status}` : posted.why
}
