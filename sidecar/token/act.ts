import type { Actor } from '../principal.ts'
import type { Json, JsonObject } from '../request.ts'

/** Longest chain of actors, the current one included. */
export const MAX_ACTORS = 8
const MAX_NAME = 256

/**
 * Who acts for the subject (RFC 8693 section 4.1), the current actor first; empty when nobody does. `undefined` when the claim is malformed
 * or the chain is longer than 8. Only the first one may decide anything: the others are history (section 4.1, last paragraph).
 */
export function actorsOf(claims: JsonObject): readonly Actor[] | undefined {
  const actors: Actor[] = []
  let act: Json | undefined = claims['act']
  while (act !== undefined) {
    const actor = actorOf(act)
    if (!actor || actors.length >= MAX_ACTORS) return undefined
    actors.push(actor)
    act = (act as JsonObject)['act']
  }
  return actors.length === 0 ? NOBODY : Object.freeze(actors)
}

const NOBODY: readonly Actor[] = Object.freeze([])

function actorOf(act: Json): Actor | undefined {
  if (typeof act !== 'object' || act === null || Array.isArray(act)) return undefined
  const { sub, iss } = act as JsonObject
  if (!isName(sub)) return undefined
  if (iss === undefined) return { subject: sub }
  return isName(iss) ? { subject: sub, issuer: iss } : undefined
}

function isName(value: Json | undefined): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME
}
