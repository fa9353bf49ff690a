import { type handleUnaryCall, status } from '@grpc/grpc-js'
import { Reason } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import {
  type ExchangeRequest,
  type ExchangeResponse,
  ExchangeRefusalReason as Reasons,
  TokenExchangeService,
} from '../../contracts/gen/portcullis/tokens/v1/token_exchange.ts'
import type { ExchangeToken } from '../grants/exchange.ts'
import type { Exchanged, ExchangeWish, Refused } from '../grants/exchange-answer.ts'
import type { CredentialService } from './credentials.ts'

const LIMITS = { tokenBytes: 8 * 1024, target: 512, scopes: 64, scope: 256 } as const

/** How long one question may take, milliseconds: what an endpoint may take at most, and what goes before it. */
const LIMIT_MS = 15_000

/** The service of token_exchange.proto. */
export function tokenExchangeService(exchange: ExchangeToken, life: AbortSignal): CredentialService {
  const answer: handleUnaryCall<ExchangeRequest, ExchangeResponse> = (call, callback) => {
    const wish = wishOf(call.request)
    if (typeof wish === 'string')
      return callback({ code: status.INVALID_ARGUMENT, details: `${wish}: missing, or outside its limits` })
    const gone = new AbortController()
    call.once('cancelled', () => gone.abort())
    const signal = AbortSignal.any([life, gone.signal, AbortSignal.timeout(LIMIT_MS)])
    exchange(wish, signal).then(
      (outcome) => callback(null, responseOf(outcome)),
      // A fault of ours says nothing about itself outside.
      () => callback({ code: status.INTERNAL, details: 'internal' }),
    )
  }
  return { definition: TokenExchangeService, implementation: { exchange: answer } }
}

/** The question, or the field that breaks the contract. */
function wishOf(asked: ExchangeRequest): ExchangeWish | string {
  const { subjectToken, audience, resource, scopes, nameWorkloadAsActor: nameWorkload } = asked
  if (subjectToken.length === 0 || subjectToken.length > LIMITS.tokenBytes) return 'subject_token'
  if (!/^[\x21-\x7e]*$/.test(audience) || audience.length > LIMITS.target) return 'audience'
  if (resource !== '' && !isResource(resource)) return 'resource'
  if (audience === '' && resource === '') return 'audience'
  const sound = scopes.every((one) => /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/.test(one))
  if (scopes.length === 0 || scopes.length > LIMITS.scopes || !sound) return 'scopes'
  return { subjectToken: Buffer.from(subjectToken), audience, resource, scopes, nameWorkload }
}

// RFC 8707 section 2.
function isResource(text: string): boolean {
  return text.length <= LIMITS.target && URL.canParse(text) && !text.includes('#')
}

const REASONS: Readonly<Record<Refused['reason'], Reasons>> = {
  subject_token: Reasons.EXCHANGE_REFUSAL_REASON_SUBJECT_TOKEN,
  scope: Reasons.EXCHANGE_REFUSAL_REASON_SCOPE,
  not_configured: Reasons.EXCHANGE_REFUSAL_REASON_NOT_CONFIGURED,
  target: Reasons.EXCHANGE_REFUSAL_REASON_TARGET,
  issuer: Reasons.EXCHANGE_REFUSAL_REASON_ISSUER,
  answer: Reasons.EXCHANGE_REFUSAL_REASON_ANSWER,
  unavailable: Reasons.EXCHANGE_REFUSAL_REASON_UNAVAILABLE,
}

function responseOf(outcome: Exchanged | Refused): ExchangeResponse {
  if (outcome.kind === 'refused') {
    const { because } = outcome
    const subjectTokenReason = because
      ? Reason[`REASON_${because.toUpperCase() as Uppercase<typeof because>}`]
      : 0
    return { outcome: { $case: 'refusal', refusal: { reason: REASONS[outcome.reason], subjectTokenReason } } }
  }
  const { accessToken, issuedTokenType, expiresAtMs, scopes, actor } = outcome
  const token = { accessToken, issuedTokenType, expiresAtMs, scopes: [...scopes], actor }
  return { outcome: { $case: 'token', token } }
}
