import { Client, credentials } from '@grpc/grpc-js'
import {
  ExchangeRefusalReason,
  type ExchangeRequest,
  type ExchangeResponse,
  TokenExchangeService,
} from '../../contracts/gen/portcullis/tokens/v1/token_exchange.ts'
import { NEXT_HOP } from '../fixtures/idp-asked-provider.ts'
import { reasonName } from '../fixtures/question.ts'
import type { Tree } from '../fixtures/sidecar.ts'

// A client of TokenExchange, as a workload has it.

export interface ExchangeClient extends Disposable {
  exchange(asked: Tree): Promise<ExchangeResponse>
}

export function exchangeAt(address: string): ExchangeClient {
  const target = address.startsWith('/') ? `unix:${address}` : address
  const client = new Client(target, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 })
  const { path, requestSerialize, responseDeserialize } = TokenExchangeService.exchange
  return {
    exchange: ({ subjectToken, ...over }) => {
      const request: ExchangeRequest = {
        subjectToken: Buffer.from(String(subjectToken)),
        audience: NEXT_HOP,
        resource: '',
        scopes: ['invoice:read'],
        nameWorkloadAsActor: false,
        ...over,
      }
      return new Promise((resolve, reject) => {
        const deadline = Date.now() + 10_000
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          { deadline },
          (error, answer) => (answer ? resolve(answer) : reject(error)),
        )
      })
    },
    [Symbol.dispose]: () => client.close(),
  }
}

export type Outcome =
  | {
      readonly kind: 'token'
      readonly aud: unknown
      readonly sub: unknown
      readonly scopes: readonly string[]
      readonly actor: string
    }
  | { readonly kind: 'refused'; readonly reason: string; readonly because: string }

const REASONS = new Map(
  Object.entries(ExchangeRefusalReason).map(([name, value]) => [
    value,
    name.replace('EXCHANGE_REFUSAL_REASON_', '').toLowerCase(),
  ]),
)

export function outcomeOf({ outcome }: ExchangeResponse): Outcome {
  if (outcome?.$case === 'token') {
    const { accessToken, scopes, actor } = outcome.token
    const { aud, sub } = JSON.parse(Buffer.from(accessToken.split('.')[1] ?? '', 'base64url').toString())
    return { kind: 'token', aud, sub, scopes, actor }
  }
  const { reason = 0, subjectTokenReason = 0 } = outcome?.refusal ?? {}
  return { kind: 'refused', reason: REASONS.get(reason) ?? '', because: reasonName(subjectTokenReason) }
}
