import { AsyncLocalStorage } from 'node:async_hooks'
import type {
  RotateRequest,
  RotateResponse,
} from '../../contracts/gen/portcullis/tokens/v1/refresh_families.ts'
import type { FamiliesClient } from '../fixtures/credentials.ts'

// How an authorization server gets atomic, replay-safe rotation from its sidecar, with oidc-provider as the example: an adapter around
// the adapter that it has. oidc-provider looks a refresh token up, marks it used, and stores the next one, in three steps of which other
// requests see the middle. Here the mark is left to the guard: storing the next one is the rotation, and only one request wins it.

type Payload = Record<string, unknown>

export interface Adapter {
  upsert(id: string, payload: Payload, expiresIn?: number): Promise<void>
  find(id: string): Promise<Payload | undefined>
  findByUid(uid: string): Promise<Payload | undefined>
  findByUserCode(code: string): Promise<Payload | undefined>
  consume(id: string): Promise<void>
  destroy(id: string): Promise<void>
  revokeByGrantId(grantId: string): Promise<void>
}

export interface GuardTerms {
  readonly issuer: string
  readonly accessTokenLifetimeMs: number
  // RFC 6749 section 5.2: whatever the reason, the client hears `invalid_grant`.
  readonly invalidGrant: () => Error
  // RFC 6749 knows no word for it; the request fails with 503.
  readonly unavailable: () => Error
  // Of the client whose request is served now, such as a keyed digest over its address and user agent; for whoever looks into a replay.
  readonly fingerprint?: () => Buffer
}

export interface GuardedAdapter {
  readonly adapter: (model: string) => Adapter
  // Serves one HTTP request: which token it redeems is remembered until its successor is stored.
  request<T>(serve: () => T): T
}

interface Redemption {
  presented: string | undefined
}

const FAMILY = 'portcullis_family'

export function guardRefreshTokens(
  stock: (model: string) => Adapter,
  families: FamiliesClient,
  terms: GuardTerms,
): GuardedAdapter {
  const requests = new AsyncLocalStorage<Redemption>()
  const guarded = (rows: Adapter): Adapter => ({
    ...rows,
    async upsert(id, payload, expiresIn) {
      const presented = requests.getStore()?.presented
      const row = presented === undefined ? undefined : await rows.find(presented)
      const family = String(row?.[FAMILY] ?? id)
      if (presented === undefined) await families.register(registration(id, payload, terms))
      else
        await rotate(families, terms, {
          family,
          presented: bytes(presented),
          next: bytes(id),
          binding: bindingOf(payload),
          graceMs: 0,
          clientFingerprint: fingerprintNow(terms),
        })
      await rows.upsert(id, { ...payload, [FAMILY]: family }, expiresIn)
    },
    // Not marked in the row: the guard alone knows which token was used, and says so when the next one is stored.
    async consume(id) {
      const redemption = requests.getStore()
      if (redemption) redemption.presented = id
    },
    async destroy(id) {
      const family = String((await rows.find(id))?.[FAMILY] ?? id)
      await families.revoke({ family, accessTokens: { $case: 'token', token: bytes(id) } })
      await rows.destroy(id)
    },
  })
  return {
    adapter: (model) => (model === 'RefreshToken' ? guarded(stock(model)) : stock(model)),
    request: (serve) => requests.run({ presented: undefined }, serve),
  }
}

async function rotate(families: FamiliesClient, terms: GuardTerms, request: RotateRequest): Promise<void> {
  let answer: RotateResponse
  try {
    answer = await families.rotate(request)
  } catch {
    throw terms.unavailable()
  }
  if (answer.outcome?.$case !== 'rotated') throw terms.invalidGrant()
}

function fingerprintNow({ fingerprint }: GuardTerms): Buffer {
  return fingerprint?.() ?? Buffer.alloc(0)
}

function registration(id: string, payload: Payload, terms: GuardTerms) {
  const { issuer, accessTokenLifetimeMs } = terms
  const { accountId, clientId, exp } = payload
  return {
    family: id,
    token: bytes(id),
    // The access tokens of oidc-provider name no session, so those of the account end.
    subject: { issuer, subject: String(accountId), sessionId: '', clientId: String(clientId) },
    binding: bindingOf(payload),
    expiresAtMs: Number(exp) * 1000,
    accessTokenLifetimeMs,
    clientFingerprint: fingerprintNow(terms),
  }
}

function bindingOf(payload: Payload): Buffer {
  return bytes(String(payload['jkt'] ?? payload['x5t#S256'] ?? ''))
}

function bytes(text: string): Buffer {
  return Buffer.from(text)
}
