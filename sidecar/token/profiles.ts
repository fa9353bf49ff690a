import type { Reason } from '../decision.ts'
import type { Snapshot } from '../trust/snapshot.ts'
import { type Evidence, isName, type Profile, type ProfileName } from './evidence.ts'
import { ID_TOKEN_RULES } from './id-token.ts'

/** RFC 8414 gives these no type: `JWT` says as little as nothing (RFC 8725 section 3.11). */
const UNTYPED = ['', 'jwt'] as const

/** Claims by which tokens of each kind are known, so that without a type of their own none passes for another. */
const MARKS = {
  access: ['client_id', 'scope', 'authorization_details', 'cnf'],
  id: ['nonce', 'at_hash', 'c_hash', 's_hash'],
  /** RFC 8417, and logout tokens with it. */
  event: ['events', 'toe', 'sub_id'],
  proof: ['htm', 'htu', 'ath'],
  request: ['response_type', 'redirect_uri', 'request', 'request_uri'],
  answer: ['token_introspection', 'status_list'],
} as const
const { access, id, event, proof, request, answer } = MARKS

/** What an access token without a type may not carry: the marks of whatever else the same issuer signs. */
export const LEGACY_FORBIDS: readonly string[] = [...id, ...event, ...proof, ...request, ...answer]

const DAY_S = 86_400
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/** One row a kind. `typ` tells most apart; the rest is claims that one must and another must not have. */
export const PROFILES = {
  /** RFC 9068. Untyped only from an issuer that was given time, and then by shape. */
  access_token: {
    name: 'access_token',
    types: new Set(['at+jwt']),
    mayLackType: true,
    signer: 'issuer',
    audience: 'ours',
    requires: ['sub', 'client_id', 'jti'],
    grants: true,
    lifetime: { exp: 'required', iat: 'required', countsFrom: 'iat', longestS: ourLongest },
    forbids: [],
    rules: [],
  },
  /** OpenID Connect Core sections 2 and 3.1.3.7. */
  id_token: {
    name: 'id_token',
    types: new Set(UNTYPED),
    mayLackType: false,
    signer: 'issuer',
    audience: 'client',
    requires: ['sub'],
    grants: false,
    lifetime: { exp: 'required', iat: 'required', countsFrom: 'iat', longestS: () => DAY_S },
    forbids: [...access, ...event, ...proof, ...request, ...answer],
    rules: ID_TOKEN_RULES,
  },
  /** OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6. `exp` is asked for there, but came late. */
  logout_token: {
    name: 'logout_token',
    types: new Set(['', 'logout+jwt']),
    mayLackType: false,
    signer: 'issuer',
    audience: 'client',
    requires: ['jti'],
    grants: false,
    lifetime: { exp: 'optional', iat: 'required', countsFrom: 'iat', longestS: () => 600 },
    forbids: [...access, ...id, ...proof, ...request, ...answer],
    rules: [noLogout],
  },
  /** RFC 7523 section 3; a client that could choose `iat` could make one that lasts. */
  client_assertion: {
    name: 'client_assertion',
    types: new Set([...UNTYPED, 'client-authentication+jwt']),
    mayLackType: false,
    signer: 'client',
    audience: 'ours',
    requires: ['sub', 'jti'],
    grants: false,
    lifetime: { exp: 'required', iat: 'optional', countsFrom: 'now', longestS: () => 300 },
    forbids: [...access, ...id, ...event, ...proof, ...request, ...answer],
    rules: [notOfItself],
  },
  /** RFC 9101. Without `sub`, so that it is no assertion either (section 10.8). */
  request_object: {
    name: 'request_object',
    types: new Set(['oauth-authz-req+jwt']),
    mayLackType: false,
    signer: 'client',
    audience: 'ours',
    requires: ['client_id'],
    grants: false,
    lifetime: { exp: 'required', iat: 'optional', countsFrom: 'now', longestS: () => 3600 },
    forbids: ['sub', 'request', 'request_uri', ...event, ...proof, ...answer],
    rules: [requestOfAnother],
  },
} as const satisfies { readonly [name in ProfileName]: Profile & { readonly name: name } }

function ourLongest({ maxTokenLifetimeS }: Snapshot): number {
  return maxTokenLifetimeS
}

// Sections 2.4 and 2.6: the event with an object, and whom to log out.
function noLogout({ jwt: { claims } }: Evidence): Reason | undefined {
  const { events, sub, sid } = claims
  if (events === undefined) return 'claim_missing'
  const logout = isObject(events) && Object.hasOwn(events, LOGOUT_EVENT) && events[LOGOUT_EVENT]
  if (!isObject(logout)) return 'claim_invalid'
  if (sub === undefined && sid === undefined) return 'claim_missing'
  return [sub, sid].every((one) => one === undefined || isName(one)) ? undefined : 'claim_invalid'
}

// RFC 7523 section 3: issuer and subject are the client.
function notOfItself({ jwt: { claims }, expected: { clientId } }: Evidence): Reason | undefined {
  const { iss, sub } = claims
  return sub === iss && (clientId === '' || clientId === sub) ? undefined : 'claim_invalid'
}

// RFC 9101 section 5: inside and outside name the same client, which is the one that signed.
function requestOfAnother({ jwt: { claims }, expected }: Evidence): Reason | undefined {
  const { iss, client_id } = claims
  return client_id === iss && client_id === expected.clientId ? undefined : 'claim_invalid'
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
