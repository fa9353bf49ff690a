import { expectValue, listOf, recordOf, textOf } from './answer.ts'
import { apiVersionOf, type Resource } from './resource.ts'
import { SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS } from './resources.ts'
import type { Transport } from './transport.ts'

/** Who a token belongs to, or why it does not count. */
export type TokenVerdict =
  | ({ readonly authenticated: true } & Caller)
  | { readonly authenticated: false; readonly why: string }

export interface Caller {
  /** `system:serviceaccount:<namespace>:<name>` for a pod. */
  readonly username: string
  readonly uid: string
  readonly groups: readonly string[]
  /** `authentication.kubernetes.io/pod-name`, `/pod-uid`, `/node-name` … for bound tokens. */
  readonly extra: Readonly<Record<string, readonly string[]>>
  /** Those of the wanted audiences for which the token is good; never empty. */
  readonly audiences: readonly string[]
}

/**
 * TokenReview. The token goes into the request's body and nowhere else. An authenticator that knows nothing of audiences answers
 * without any; that is no proof that the token was meant for us, so it does not count (authentication/v1, status.audiences).
 */
export async function reviewToken(
  transport: Transport,
  { token, audiences }: { readonly token: string; readonly audiences: readonly string[] },
  signal: AbortSignal,
): Promise<TokenVerdict> {
  const status = await review(transport, TOKEN_REVIEWS, { token, audiences }, signal)
  if (status['authenticated'] !== true)
    return { authenticated: false, why: textOf(status['error']) || 'not a valid token' }
  const good = textsOf(status['audiences']).filter((one) => audiences.includes(one))
  if (good.length === 0) return { authenticated: false, why: 'the token is for another audience' }
  const user = recordOf(status['user'])
  const username = textOf(user['username'])
  if (!username) return { authenticated: false, why: 'the token names nobody' }
  return {
    authenticated: true,
    username,
    uid: textOf(user['uid']),
    groups: textsOf(user['groups']),
    extra: Object.fromEntries(
      Object.entries(recordOf(user['extra'])).map(([name, values]) => [name, textsOf(values)]),
    ),
    audiences: good,
  }
}

/** May this user do that? */
export interface AccessQuestion {
  readonly user: string
  readonly groups?: readonly string[]
  readonly uid?: string
  readonly extra?: Readonly<Record<string, readonly string[]>>
  readonly verb: string
  readonly resource: Resource
  readonly namespace?: string
  readonly name?: string
  readonly subresource?: string
}
export interface AccessVerdict {
  readonly allowed: boolean
  readonly why: string
}

/** SubjectAccessReview. Anything but a plain `allowed: true` is a no. */
export async function reviewAccess(
  transport: Transport,
  question: AccessQuestion,
  signal: AbortSignal,
): Promise<AccessVerdict> {
  const { user, groups, uid, extra, verb, resource, namespace, name, subresource } = question
  const { group, version, plural } = resource
  const resourceAttributes = { verb, group, version, resource: plural, namespace, name, subresource }
  const spec = { user, groups, uid, extra, resourceAttributes }
  const status = await review(transport, SUBJECT_ACCESS_REVIEWS, spec, signal)
  return {
    allowed: status['allowed'] === true && status['denied'] !== true,
    why: textOf(status['reason']) || textOf(status['evaluationError']),
  }
}

async function review(
  transport: Transport,
  resource: Resource,
  spec: object,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: {}, spec }
  const answer = await transport.send({ method: 'POST', resource, body, timeoutMs: 10_000 }, signal)
  return recordOf(recordOf(expectValue(answer, resource.kind))['status'])
}

function textsOf(value: unknown): readonly string[] {
  return listOf(value).filter((one) => typeof one === 'string')
}
