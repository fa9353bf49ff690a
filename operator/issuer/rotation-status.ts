import type { KeyRotation, KeyRotationStatus } from '../../contracts/crd/key-rotation.ts'
import { formatTime } from '../../contracts/time.ts'
import type { Progress } from '../identity/key-keeper.ts'
import type { KeyRecord } from '../identity/ring.ts'
import { bad, good, judge } from '../reconcile/judgement.ts'

type Phase = NonNullable<KeyRotationStatus['phase']>
type Status = Omit<KeyRotationStatus, 'verifiers'>

const KEYS = 16
const STEPS = 32
const DETAIL = 512

/** What the status of a KeyRotation is to say after this step; `verifiers` is counted and written by `control`. */
export function rotationStatus(rotation: KeyRotation, { step, ring, at }: Progress): Status {
  const { generation } = rotation.metadata
  const before = rotation.status
  const phase = phaseAfter(step, rotation.spec.action, before?.phase)
  const steps = stepsAfter(rotation, { step, at })
  const over = phase === 'Complete' || phase === 'Revoked'
  const why = step.do === 'wait' ? step.why : step.do === 'fail' ? step.why : phase
  const judged = [
    over ? good('Acknowledged', 'Acknowledged') : acknowledged(rotation),
    phase === 'Failed'
      ? bad('Progressing', 'Failed', why)
      : good('Progressing', over ? 'Done' : 'UnderWay', why),
  ]
  const ready = over
    ? good('Ready', phase)
    : phase === 'Failed'
      ? bad('Ready', 'Failed', `spec.keyId: ${why}; name one of those in the status of the TrustDomain`)
      : bad('Ready', 'UnderWay', why)
  return {
    observedGeneration: generation,
    conditions: [...judge(before?.conditions, [...judged, ready], { generation, at })],
    phase,
    keys: ring.keys.slice(-KEYS).map(keyOf),
    steps,
  }
}

function acknowledged({ status }: KeyRotation) {
  const { total = 0, acknowledged: have = 0, lapsed = 0, stragglers = [] } = status?.verifiers ?? {}
  const text = `${have}/${total} verifiers, ${lapsed} lapsed`
  if (status?.verifiers && have + lapsed >= total) return good('Acknowledged', 'Acknowledged', text)
  return bad(
    'Acknowledged',
    'Waiting',
    stragglers.length > 0 ? `${text}; not yet: ${stragglers.join(', ')}` : text,
  )
}

const AFTER: Readonly<Record<Progress['step']['do'], Phase | undefined>> = {
  prepare: 'Prepared',
  publish: 'Published',
  activate: 'Active',
  retire: 'Retiring',
  revoke: 'Retiring',
  wait: undefined,
  complete: 'Complete',
  fail: 'Failed',
}

// A wait says nothing new about how far it is, but for the one after activation.
function phaseAfter(
  step: Progress['step'],
  action: KeyRotation['spec']['action'],
  before: Phase | undefined,
): Phase {
  if (step.do === 'complete' && action === 'Revoke') return 'Revoked'
  if (step.do === 'wait' && step.untilMs !== undefined) return 'Retiring'
  return AFTER[step.do] ?? before ?? 'Pending'
}

function stepsAfter(
  rotation: KeyRotation,
  { step, at }: Pick<Progress, 'step' | 'at'>,
): NonNullable<Status['steps']> {
  const before = rotation.status?.steps ?? []
  if (step.do === 'wait') return before
  const name = step.do
  const last = before.at(-1)
  if (last?.step === name) return before
  return [...before, { step: name, at: formatTime(at), detail: detailOf(rotation, step) }].slice(-STEPS)
}

function detailOf({ status, spec }: KeyRotation, step: Progress['step']): string {
  const { total = 0, acknowledged: have = 0, lapsed = 0, sequence = 0 } = status?.verifiers ?? {}
  if (step.do === 'fail') return step.why.slice(0, DETAIL)
  if (step.do !== 'activate') return 'id' in step ? step.id : ''
  const counts = `${step.promote}; ${have}/${total} verifiers at sequence ${sequence}, ${lapsed} lapsed`
  if (!step.overridden) return counts
  return `${counts}; overridden: ${spec.override?.justification ?? ''}`.slice(0, DETAIL)
}

function keyOf({ id, state, notBeforeMs, notAfterMs, publishedSequence, sinceMs }: KeyRecord) {
  return {
    id,
    state,
    notBefore: formatTime(notBeforeMs),
    notAfter: formatTime(notAfterMs),
    since: formatTime(sinceMs),
    ...(publishedSequence === undefined ? {} : { publishedSequence }),
  }
}
