import type { Attributes, AuthorizationDetail } from '../principal.ts'
import type { Json, JsonObject } from '../request.ts'
import { actorsOf } from './act.ts'
import { isName, isNumericDate } from './evidence.ts'

export const ATTRIBUTE_LIMITS = { methods: 16, details: 32, type: 128 } as const

/**
 * How the user authenticated (RFC 9068 section 2.2.1), how the token is bound (RFC 7800), who acts for the user (RFC 8693) and what exactly was consented to (RFC 9396).
 * `undefined` when one of the claims is not of its type: what is malformed must not look as if it were not there.
 */
export function attributesOf(claims: JsonObject): Attributes | undefined {
  const { acr, auth_time: authTime, amr, authorization_details: details, cnf } = claims
  if (acr !== undefined && !isName(acr)) return undefined
  if (authTime !== undefined && !isNumericDate(authTime)) return undefined
  if (amr !== undefined && !isMethods(amr)) return undefined
  if (details !== undefined && !isDetails(details)) return undefined
  const actors = actorsOf(claims)
  if (!actors) return undefined
  return {
    acr,
    authTime,
    amr: amr ?? NO_METHODS,
    authorizationDetails: details ?? NO_DETAILS,
    actors,
    // Bound is what has met its constraint already (token/binding.ts), so the claim says which one that was.
    confirmation: cnf === undefined ? 'bearer' : hasMember(cnf, 'jkt') ? 'dpop' : 'mtls',
  }
}

const NO_METHODS: readonly string[] = Object.freeze([])
const NO_DETAILS: readonly AuthorizationDetail[] = Object.freeze([])

function isMethods(value: Json): value is readonly string[] {
  return Array.isArray(value) && value.length <= ATTRIBUTE_LIMITS.methods && value.every(isName)
}

// RFC 9396 section 2: an array of objects, each with a `type` that is text.
function isDetails(value: Json): value is readonly AuthorizationDetail[] {
  return Array.isArray(value) && value.length <= ATTRIBUTE_LIMITS.details && value.every(isDetail)
}

function isDetail(value: Json): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { type } = value as JsonObject
  return typeof type === 'string' && type !== '' && type.length <= ATTRIBUTE_LIMITS.type
}

function hasMember(value: Json, name: string): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
}
