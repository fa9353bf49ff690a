import { Fault } from '../ports.ts'
import type { Answer } from './answer.ts'
import { type KubeObject, nameOf, type Place } from './resource.ts'
import type { Transport } from './transport.ts'
import { list, type Options, type Page } from './verbs.ts'

/** Everything there is, as of one moment. */
export interface Listing {
  readonly items: readonly KubeObject[]
  readonly resourceVersion: string
}

export interface ListRules {
  /** Objects a page. */
  readonly pageSize: number
  /** More than this is a Fault: the process would not fit into its memory. */
  readonly maxObjects: number
  /** For one page. */
  readonly timeoutMs: number
}

/**
 * Reads a collection page by page, all pages as of the moment of the first (a consistent read: no resourceVersion is sent).
 * When that moment has been compacted away in between (410), it starts over, and asks for everything at once if that happens again.
 */
export async function listAll(
  transport: Transport,
  place: Place & Options,
  rules: ListRules,
  signal: AbortSignal,
): Promise<Answer<Listing>> {
  const paged = { ...place, query: { ...place.query, limit: String(rules.pageSize) } }
  for (const from of [paged, paged, place]) {
    const answer = await readPages(transport, from, rules, signal)
    if (answer.ok || answer.refused.status !== 410) return answer
  }
  throw new Fault('gone', `${nameOf(place.resource)}: every listing expired before it was complete`)
}

async function readPages(
  transport: Transport,
  place: Place & Options,
  rules: ListRules,
  signal: AbortSignal,
): Promise<Answer<Listing>> {
  const items: KubeObject[] = []
  let first: Page | undefined
  let next: string | undefined
  do {
    const query = { ...place.query, ...(next === undefined ? {} : { continue: next }) }
    const answer = await list(transport, { ...place, query, timeoutMs: rules.timeoutMs }, signal)
    if (!answer.ok) return answer
    first ??= answer.value
    items.push(...answer.value.items)
    next = answer.value.next
    if (items.length > rules.maxObjects)
      throw new Fault('api', `${nameOf(place.resource)}: more than ${rules.maxObjects} objects`)
  } while (next !== undefined)
  return { ok: true, value: { items, resourceVersion: first.resourceVersion } }
}
