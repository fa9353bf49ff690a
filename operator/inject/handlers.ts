import { INJECT } from './asked.ts'
import { type Known, lint } from './lint.ts'
import { inject, tellSkipped } from './patch.ts'
import { isObject, parsePod } from './pod.ts'
import { ALLOWED, type Review, type Verdict } from './review.ts'
import type { Facts, Profile } from './sidecar.ts'

/** What each path of the webhook answers. */

export interface Needs extends Known {
  /** The SidecarProfile that is injected; undefined while there is none that is valid. */
  readonly injected: () => Profile | undefined
  readonly facts: () => Facts
}

export type Handler = (review: Review, needs: Needs) => Verdict

/**
 * The last segment of an inject path tells which selector of the MutatingWebhookConfiguration matched. So the label of the
 * namespace comes from the API server itself, and no cache of ours can be behind it.
 */
export const HANDLERS: Readonly<Record<string, Handler>> = {
  '/inject/required': injectWhere({ [INJECT]: 'required' }),
  '/inject/namespace': injectWhere({ [INJECT]: 'enabled' }),
  '/inject/pod': injectWhere({}),
  '/inject/skipped': injectWhere({ [INJECT]: 'enabled' }),
  '/validate': ({ kind, operation, object, oldObject }, needs) => {
    if (operation !== 'CREATE' && operation !== 'UPDATE') return ALLOWED
    // Labels and finalizers of an object that later rules would refuse can still be changed.
    if (oldObject && same(object?.['spec'], oldObject['spec'])) return ALLOWED
    return { ...lint(kind, object, oldObject, needs), patch: [] }
  },
}

function injectWhere(namespaceLabels: Readonly<Record<string, string>>): Handler {
  return ({ operation, object, namespace }, { injected, facts }) => {
    if (operation !== 'CREATE') return ALLOWED
    const pod = parsePod(withNamespace(object, namespace))
    if (!pod) return { ...ALLOWED, problems: ['spec: not a pod as the API server sends it; report this'] }
    const result = inject(pod, namespaceLabels, injected(), facts())
    if ('refused' in result) return { ...ALLOWED, problems: result.refused }
    if ('patch' in result) return { problems: [], ...result }
    if (result.quiet) return ALLOWED
    return {
      problems: [],
      warnings: [`Portcullis: no sidecar, because ${result.skipped}`],
      patch: tellSkipped(pod, result.skipped),
    }
  }
}

/** A pod made by a controller may not name its namespace; the request always does. */
function withNamespace(object: unknown, namespace: string): unknown {
  if (!isObject(object)) return undefined
  const metadata = isObject(object['metadata']) ? object['metadata'] : undefined
  if (!metadata) return object
  return { ...object, metadata: { ...metadata, namespace } }
}

/** By text: the API server prints both halves of one request in the same order. */
function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
