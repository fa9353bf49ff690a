import {
  type IdTokenProfile,
  TokenKind as KindNumber,
  type VerifyTokenRequest,
  VerifyTokenRequest as VerifyTokenRequestMessage,
  VerifyTokenResponse,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { type Denial, denied, denyRequest } from '../decision.ts'
import { type Expected, NOTHING_EXPECTED } from '../token/evidence.ts'
import type { TokenKind, Vouched, VouchOutcome, VouchRequest } from '../token/vouch.ts'
import { denialMessage, whole } from './codec.ts'

/** Limits of the question, as authorizer.proto states them. Bytes of text are counted in UTF-16 units. */
export const VOUCH_LIMITS = {
  token: 8 * 1024,
  clientId: 256,
  nonce: 512,
  companion: 8 * 1024,
  acrValues: 16,
  acr: 256,
  audiences: 16,
  audience: 512,
} as const

/** Bytes to a question, or the denial that says which field to mend. Never throws. */
export function decodeVouch(bytes: Uint8Array): VouchRequest | Denial {
  try {
    return readVouch(whole(bytes, VerifyTokenRequestMessage.decode))
  } catch {
    return denyRequest(
      'the bytes are not a portcullis.authorizer.v1.VerifyTokenRequest; regenerate the client from the proto',
    )
  }
}

function readVouch({ token, profile, timeoutMs }: VerifyTokenRequest): VouchRequest | Denial {
  if (token.length === 0 || token.length > VOUCH_LIMITS.token)
    return denyRequest('token: required, the compact JWS, at most 8 KiB')
  if (!profile) return denyRequest('profile: required, the kind that the token must be')
  const asked = readProfile(profile)
  if (typeof asked === 'string') return denyRequest(asked)
  return { token: Buffer.from(token.buffer, token.byteOffset, token.byteLength), ...asked, timeoutMs }
}

type Asked = Pick<VouchRequest, 'tokenKind' | 'expected'>

function readProfile(profile: NonNullable<VerifyTokenRequest['profile']>): Asked | string {
  switch (profile.$case) {
    case 'accessToken':
      return { tokenKind: 'access_token', expected: NOTHING_EXPECTED }
    case 'jwtSvid':
      return { tokenKind: 'jwt_svid', expected: NOTHING_EXPECTED }
    case 'idToken':
      return readIdToken(profile.idToken)
    case 'logoutToken':
      return forClient('logout_token', profile.logoutToken.clientId, true)
    case 'clientAssertion':
      return forClient('client_assertion', profile.clientAssertion.clientId, false)
    case 'requestObject':
      return forClient('request_object', profile.requestObject.clientId, true)
  }
}

function forClient(tokenKind: TokenKind, clientId: string, required: boolean): Asked | string {
  const problem = clientProblem(tokenKind, clientId, required)
  return problem ?? { tokenKind, expected: { ...NOTHING_EXPECTED, clientId } }
}

function clientProblem(tokenKind: TokenKind, clientId: string, required: boolean): string | undefined {
  const sound = isText(clientId, VOUCH_LIMITS.clientId) && (clientId !== '' || !required)
  return sound
    ? undefined
    : `${tokenKind}.client_id: ${required ? 'required, ' : ''}at most ${VOUCH_LIMITS.clientId} characters`
}

function readIdToken(message: IdTokenProfile): Asked | string {
  const { clientId, nonce, maxAgeS, acrValues, accessToken, code, otherAudiences } = message
  const problem =
    clientProblem('id_token', clientId, true) ??
    (nonce === '' || !isText(nonce ?? '', VOUCH_LIMITS.nonce)
      ? 'id_token.nonce: 1 to 512 characters, or unset when none was sent'
      : undefined) ??
    listProblem('acr_values', acrValues, VOUCH_LIMITS.acrValues, VOUCH_LIMITS.acr) ??
    listProblem('other_audiences', otherAudiences, VOUCH_LIMITS.audiences, VOUCH_LIMITS.audience) ??
    (isText(accessToken, VOUCH_LIMITS.companion) && isText(code, VOUCH_LIMITS.companion)
      ? undefined
      : 'id_token: access_token or code larger than 8 KiB')
  if (problem) return problem
  const expected: Expected = {
    ...{ clientId, acrValues, accessToken, code, otherAudiences },
    nonce: nonce ?? '',
    maxAgeS,
  }
  return { tokenKind: 'id_token', expected }
}

function listProblem(
  name: string,
  values: readonly string[],
  most: number,
  longest: number,
): string | undefined {
  const sound = values.length <= most && values.every((one) => one !== '' && isText(one, longest))
  return sound ? undefined : `id_token.${name}: at most ${most} of 1 to ${longest} characters`
}

// The decoder writes U+FFFD for bytes that are not UTF-8; two different names must not become one.
function isText(text: string, longest: number): boolean {
  return text.length <= longest && !text.includes('\ufffd')
}

const KINDS = {
  access_token: KindNumber.TOKEN_KIND_ACCESS_TOKEN,
  id_token: KindNumber.TOKEN_KIND_ID_TOKEN,
  logout_token: KindNumber.TOKEN_KIND_LOGOUT_TOKEN,
  client_assertion: KindNumber.TOKEN_KIND_CLIENT_ASSERTION,
  request_object: KindNumber.TOKEN_KIND_REQUEST_OBJECT,
  jwt_svid: KindNumber.TOKEN_KIND_JWT_SVID,
} as const satisfies Record<TokenKind, KindNumber>

/** An answer to bytes. */
export function encodeVouch({ outcome, trust }: VouchOutcome, decisionId: string): Buffer {
  const message: VerifyTokenResponse = {
    outcome: denied(outcome)
      ? { $case: 'deny', deny: denialMessage(outcome, '') }
      : { $case: 'verified', verified: verifiedMessage(outcome) },
    decisionId,
    trustGeneration: trust?.generation ?? 0,
  }
  return Buffer.from(VerifyTokenResponse.encode(message).finish())
}

function verifiedMessage({ tokenKind, claimsJson, ...said }: Vouched) {
  const { issuer, subject, clientId, tenant, expiresAt } = said
  return {
    ...{ issuer, subject, clientId, tenant, expiresAt },
    kind: KINDS[tokenKind],
    claimsJson: Buffer.from(claimsJson, 'utf8'),
  }
}
