import type { Operation } from './patch.ts'
import { isObject, type JsonObject, textOf } from './pod.ts'

/** `admission.k8s.io/v1` AdmissionReview, the two halves of it. */

export interface Review {
  readonly uid: string
  readonly kind: string
  readonly operation: string
  readonly namespace: string
  /** Empty where the API server is still to generate it. */
  readonly name: string
  readonly object: JsonObject | undefined
  readonly oldObject: JsonObject | undefined
}

export interface Verdict {
  /** Empty: allowed. */
  readonly problems: readonly string[]
  /** Shown by kubectl. */
  readonly warnings: readonly string[]
  readonly patch: readonly Operation[]
}

export const ALLOWED: Verdict = { problems: [], warnings: [], patch: [] }

/** undefined: not an AdmissionReview v1 with a request. */
export function parseReview(body: Uint8Array): Review | undefined {
  const review = jsonOf(body)
  if (!isObject(review) || review['apiVersion'] !== 'admission.k8s.io/v1') return undefined
  const request = review['request']
  if (!isObject(request) || !textOf(request['uid']) || !isObject(request['kind'])) return undefined
  return {
    uid: textOf(request['uid']),
    kind: textOf(request['kind']['kind']),
    operation: textOf(request['operation']),
    namespace: textOf(request['namespace']),
    name: textOf(request['name']),
    object: isObject(request['object']) ? request['object'] : undefined,
    oldObject: isObject(request['oldObject']) ? request['oldObject'] : undefined,
  }
}

/** The answer as the API server wants it. A refusal names the object first, then every problem. */
export function answerTo(review: Review, { problems, warnings, patch }: Verdict): string {
  const refused = problems.length > 0
  const response = {
    uid: review.uid,
    allowed: !refused,
    ...(refused ? { status: refusal(review, problems) } : {}),
    ...(warnings.length > 0 ? { warnings: warnings.slice(0, WARNINGS).map(shortened) } : {}),
    ...(patch.length > 0 && !refused
      ? { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }
      : {}),
  }
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response })
}

const WARNINGS = 8
/** Beyond 256 characters each the API server may cut them itself. */
const WARNING_LENGTH = 256
const MESSAGE_LENGTH = 8 * 1024

function refusal({ kind, namespace, name, object }: Review, problems: readonly string[]) {
  const metadata = isObject(object?.['metadata']) ? object['metadata'] : {}
  const called = name || textOf(metadata['name']) || `${textOf(metadata['generateName'])}*`
  const who = `${kind} ${namespace ? `${namespace}/` : ''}${called}`
  const message = `${who}: ${problems.join('; ')}`.slice(0, MESSAGE_LENGTH)
  return { status: 'Failure', reason: 'Invalid', code: 422, message }
}

function shortened(warning: string): string {
  return warning.length <= WARNING_LENGTH ? warning : `${warning.slice(0, WARNING_LENGTH - 1)}…`
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
}
