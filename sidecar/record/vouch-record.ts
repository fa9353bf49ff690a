import { type Denial, denied, type Reason, statusOf } from '../decision.ts'
import type { FormatTime, Now } from '../ports.ts'
import type { LineLog } from './log.ts'

/** A finished answer of VerifyToken. */
export interface VouchedFor {
  /** The kind that was asked for; `undefined`: the question was no question. */
  readonly asked: string | undefined
  readonly outcome: VouchedFacts | Denial
  readonly trustGeneration: number
  readonly decisionId: string
  readonly elapsedMs: number
}

export interface VouchedFacts {
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly tenant: string
  readonly kid: string
  readonly jti: string
}

export interface VouchTally {
  readonly idTokenRefused: (reason: Reason) => void
  readonly vouched: (kind: string, outcome: 'verified' | 'refused') => void
}

/** Records every answer exactly once: counted always, logged unless the configuration turned the decision log off. */
export function createVouchRecorder(
  tally: VouchTally,
  log: Pick<LineLog, 'line'> | undefined,
  wall: Now,
  format: FormatTime,
): (answer: VouchedFor) => void {
  return (answer) => {
    const { asked, outcome } = answer
    tally.vouched(asked ?? 'none', denied(outcome) ? 'refused' : 'verified')
    if (asked === 'id_token' && denied(outcome)) tally.idTokenRefused(outcome.reason)
    log?.line(vouchLine(answer, format(wall())))
  }
}

// As in audit.ts: picked from a fixed list, and identities only once a signature vouched for them.
function vouchLine({ asked, outcome, ...rest }: VouchedFor, time: string): string {
  const refusal = denied(outcome) ? outcome : undefined
  const facts = denied(outcome) ? undefined : outcome
  return JSON.stringify({
    time,
    decision_id: rest.decisionId,
    asked: 'verify_token',
    token_kind: asked,
    outcome: refusal ? 'deny' : 'verified',
    reason: refusal?.reason,
    status: refusal ? statusOf(refusal) : 200,
    detail: refusal?.detail || undefined,
    issuer: facts?.issuer,
    subject: facts?.subject || undefined,
    client_id: facts?.clientId || undefined,
    tenant: facts?.tenant || undefined,
    kid: facts?.kid || undefined,
    jti: facts?.jti || undefined,
    trust_generation: rest.trustGeneration,
    elapsed_us: Math.round(rest.elapsedMs * 1000),
  })
}
