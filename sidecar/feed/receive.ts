import type {
  Held,
  Snapshot,
  SubscribeRequest,
  SubscribeResponse,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { createTurns, type InTurn } from '../../contracts/turns.ts'
import type { Believe, Installed } from '../ports.ts'
import type { Policies } from './policies.ts'
import type { Questions } from './questions.ts'
import type { Revokes } from './revokes.ts'

export interface ReceiverNeeds {
  readonly believe: Believe
  readonly policies: Policies
  readonly questions: Questions
  readonly revokes: Revokes
  /** Takes a trust bundle into use. */
  readonly trust: (bundle: TrustBundle) => Promise<Installed>
  readonly held: () => Held
  /** The operator was heard: a heartbeat that we are level with. */
  readonly heard: () => void
  /** A message was refused. */
  readonly refused: (what: string, problems: readonly string[]) => void
}

export interface Line {
  readonly send: (request: Request) => void
  /** Ends the stream: it cannot be trusted to mean what it says. */
  readonly end: (why: string) => void
  readonly signal: AbortSignal
}

export type Request = NonNullable<SubscribeRequest['request']>
type Response = NonNullable<SubscribeResponse['response']>

const QUEUED = 64
const NONCES = 4096
const NONCE_LENGTH = 128
const PROBLEMS = 8
const PROBLEM_BYTES = 512

/**
 * What to do with each message. What denies takes effect the moment it is read; what could allow waits its turn, in order of arrival,
 * for its files and its compilation.
 */
export function createReceiver(needs: ReceiverNeeds, line: Line): (message: SubscribeResponse) => void {
  const fresh = createNonces()
  const desk = createDesk(needs, line)
  return ({ nonce, response }) => {
    if (response && takeUnanswered(response, needs, { line, desk })) return
    if (!fresh(nonce)) line.end('a message without a nonce of its own')
    else if (response) takeAnswered(response, nonce, { needs, line, desk })
    else desk.answer('message', nonce, UNKNOWN)
  }
}

const UNKNOWN: Installed = { ok: false, problems: ['a message that this version does not know'] }

function takeUnanswered(
  response: Response,
  { believe, policies, questions, revokes, held, heard }: ReceiverNeeds,
  { line, desk }: { readonly line: Line; readonly desk: Desk },
): boolean {
  switch (response.$case) {
    case 'heartbeat':
      believe.heartbeat(response.heartbeat)
      if (response.heartbeat.revocationHead <= held().revocationHead) heard()
      return true
    case 'chunk':
      policies.take(response.chunk)
      return true
    case 'keysChecked':
      // After whatever the fetch brought.
      desk.later(async () => questions.answered(response.keysChecked))
      return true
    case 'revokeAnswer':
      revokes.answered(response.revokeAnswer)
      return true
    case 'recall':
      for (const revocations of believe.recall())
        line.send({ $case: 'recalled', recalled: { held: held(), revocations } })
      return true
    default:
      return false
  }
}

interface Hands {
  readonly needs: ReceiverNeeds
  readonly line: Line
  readonly desk: Desk
}

function takeAnswered(response: Response, nonce: string, { needs, line, desk }: Hands): void {
  const blobs = {
    want: (sha256: Buffer) => line.send({ $case: 'want', want: { sha256 } }),
    signal: line.signal,
  }
  switch (response.$case) {
    case 'revocations': {
      const outcome = needs.believe.revoke(response.revocations)
      desk.answer('revocations', nonce, outcome)
      // There is a gap: only a full set can close it.
      if (!outcome.ok) line.end(`revocations refused: ${outcome.problems[0]}`)
      break
    }
    case 'snapshot':
      takeSnapshot(response.snapshot, nonce, { needs, line, desk })
      break
    case 'delta':
      desk.answerLater('delta', nonce, () => needs.policies.amend(response.delta, blobs))
      break
    case 'keyFreshness':
      desk.answerLater('key freshness', nonce, () => needs.believe.freshen(response.keyFreshness))
      break
    case 'trustBundle':
      desk.answerFirst('trust bundle', nonce, () => needs.trust(response.trustBundle))
      break
    default:
      desk.answer('message', nonce, UNKNOWN)
  }
}

function takeSnapshot(snapshot: Snapshot, nonce: string, { needs, line, desk }: Hands): void {
  if (snapshot.withheld === '') {
    const want = (sha256: Buffer) => line.send({ $case: 'want', want: { sha256 } })
    needs.policies.announced(snapshot.generation)
    desk.answerLater('snapshot', nonce, () => needs.policies.install(snapshot, { want, signal: line.signal }))
    return
  }
  // All permissions are gone before the next message is read; only the answer comes a moment later.
  needs.believe
    .install(snapshot, () => undefined)
    .then((outcome) => desk.answer('snapshot', nonce, outcome))
    .catch(() => line.end('a snapshot could not be withheld'))
}

interface Desk {
  answer(what: string, nonce: string, outcome: Installed): void
  /** Runs the job when all before it are done. */
  later(job: () => Promise<void>): void
  answerLater(what: string, nonce: string, take: () => Promise<Installed>): void
  /** Before whatever waits: a trust bundle may take keys away, and whatever comes after it is verified by it. */
  answerFirst(what: string, nonce: string, take: () => Promise<Installed>): void
}

function createDesk({ held, refused }: ReceiverNeeds, { send, end, signal }: Line): Desk {
  const inTurn = createTurns()
  const first = createTurns()
  let queued = 0
  const answer: Desk['answer'] = (what, nonce, outcome) => {
    if (outcome.ok) return void send({ $case: 'ack', ack: { nonce, held: held() } })
    const problems = outcome.problems.slice(0, PROBLEMS).map(shortened)
    refused(what, problems)
    send({ $case: 'nack', nack: { nonce, problems, held: held() } })
  }
  const queue = (turns: InTurn, job: () => Promise<void>): void => {
    if (queued >= QUEUED) return void end(`more than ${QUEUED} messages wait for their turn`)
    queued++
    turns(async () => {
      queued--
      if (!signal.aborted) await job()
    }).catch(() => end('a message could not be taken'))
  }
  const later: Desk['later'] = (job) =>
    queue(inTurn, async () => {
      await first(async () => undefined)
      await job()
    })
  return {
    answer,
    later,
    answerLater: (what, nonce, take) => later(async () => answer(what, nonce, await take())),
    answerFirst: (what, nonce, take) => queue(first, async () => answer(what, nonce, await take())),
  }
}

// A nonce that is used twice could acknowledge what was never sent.
function createNonces(): (nonce: string) => boolean {
  const seen = new Set<string>()
  return (nonce) => {
    if (nonce === '' || nonce.length > NONCE_LENGTH || seen.has(nonce)) return false
    for (const oldest of seen) {
      if (seen.size < NONCES) break
      seen.delete(oldest)
    }
    seen.add(nonce)
    return true
  }
}

// Cut by bytes, never within a character.
function shortened(problem: string): string {
  if (Buffer.byteLength(problem) <= PROBLEM_BYTES) return problem
  return Buffer.from(problem)
    .toString('utf8', 0, PROBLEM_BYTES - 4)
    .replace(/\uFFFD*$/, '')
}
