import type { PostForm } from '../contracts/post.ts'
import { denied } from './decision.ts'
import { createAskEndpoint } from './grants/ask-endpoint.ts'
import { createAssertions } from './grants/client-assertion.ts'
import { createExchange, type ExchangeNeeds } from './grants/exchange.ts'
import type { Monotonic, Now, OwnCredential, Report, Sleep } from './ports.ts'
import type { TokenTelemetry } from './record/token-metrics.ts'
import type { CredentialService } from './serve/credentials.ts'
import { tokenExchangeService } from './serve/token-exchange.ts'
import { type Confirm, createConfirm } from './token/confirm.ts'
import { createIntrospection } from './token/introspection.ts'
import type { Prove } from './token/verify.ts'

/** Whatever this sidecar asks of authorization servers. */
export interface Asking {
  readonly confirm: Confirm
  /** On the socket for credentials. */
  readonly exchange: CredentialService
}

export interface AskingNeeds {
  readonly post: PostForm
  readonly credential: OwnCredential
  readonly wall: Now
  readonly monotonic: Monotonic
  readonly sleep: Sleep
  readonly report: Report
  readonly nextId: () => string
  readonly life: AbortSignal
  readonly telemetry: TokenTelemetry
  readonly prove: Prove
  readonly current: ExchangeNeeds['current']
  readonly actorToken: ExchangeNeeds['actorToken']
}

/** Introspection and exchange ask through gates of their own: one that fails does not hold up the other. */
export function createAsking(needs: AskingNeeds): Asking {
  const { telemetry, monotonic: now, wall, life } = needs
  const { post, credential, sleep, report, nextId } = needs
  const assertion = createAssertions(wall, nextId)
  const asks = { post, credential, assertion, now, sleep, report }
  const configured = (use: 'introspection' | 'exchange') => () => {
    const trust = needs.current(wall())
    if (denied(trust)) return undefined
    return new Set([...trust.issuers.values()].flatMap((issuer) => issuer[use]?.endpoint.url ?? []))
  }
  const introspection = createAskEndpoint({ ...asks, configured: configured('introspection') })
  const exchange = createAskEndpoint({ ...asks, configured: configured('exchange') })
  telemetry.watch({ openCircuits: { introspection: introspection.open, exchange: exchange.open } })
  const record = telemetry.introspected
  const confirm = createConfirm(createIntrospection({ ask: introspection.ask, now, record, lifetime: life }))
  const exchanges = createExchange({
    ...{ current: needs.current, prove: needs.prove, confirm, ask: exchange.ask, wall, lifetime: life },
    actorToken: needs.actorToken,
    record: telemetry.tokenRequested,
  })
  return { confirm, exchange: tokenExchangeService(exchanges, life) }
}
