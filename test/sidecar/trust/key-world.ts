import type { VerificationKey } from '../../../contracts/jwks.ts'
import { type Denial, denied } from '../../../sidecar/decision.ts'
import { createKeys, type Keys } from '../../../sidecar/trust/keys.ts'
import type { Issuer } from '../../../sidecar/trust/snapshot.ts'
import { type SigningKey, signingKey } from '../../fixtures/keys.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { createFakeTime, type FakeTime } from '../fake-time.ts'
import { openTrust, type Trust } from './beliefs.ts'

// Real key finding over a real trust store; only time and what a fetch brings are scripted.

export const OLD = signingKey('RS256', 'old')
export const NEW = signingKey('RS256', 'new')
export const OTHER_ISSUER = 'https://other.test.example'
/** Questions that may be unanswered at once. */
export const PLACES = 1024
export const AT = 1_790_000_000_000

export type Outcome = readonly SigningKey[] | 'failure'

export interface KeyWorld {
  readonly time: FakeTime
  readonly trust: Trust
  readonly keys: Keys
  /** Issuers that were fetched, in order. */
  readonly fetches: string[]
  /** What the next fetches bring. */
  script(provider: () => Outcome | Promise<Outcome>): void
  issuer(name?: string): Issuer
  /** `key <kid>`, or the reason of the denial. */
  ask(kid: string, question?: Question): Promise<string>
}

export interface Question {
  readonly algorithm?: string
  readonly at?: number
  readonly issuer?: string
  readonly signal?: AbortSignal
}

export async function openKeyWorld(): Promise<KeyWorld> {
  const time = createFakeTime()
  const trust = openTrust()
  const fetches: string[] = []
  let provider: () => Outcome | Promise<Outcome> = () => [OLD]
  const keys = createKeys({
    refresh: async (name) => {
      fetches.push(name)
      const outcome = await provider()
      if (outcome === 'failure') return false
      await trust.state({ keys: outcome }, { issuer: OTHER_ISSUER, keys: [] })
      return true
    },
    installed: trust.store.installed,
    now: time.now,
    sleep: time.sleep,
    lifetime: new AbortController().signal,
    inFlight: PLACES,
  })
  await trust.state({ keys: [OLD] }, { issuer: OTHER_ISSUER, keys: [] })
  const issuer = (name = ISSUER): Issuer => {
    const found = trust.store.installed()?.issuers.get(name)
    if (!found) throw new Error(`no issuer ${name}`)
    return found
  }
  return {
    time,
    trust,
    keys,
    fetches,
    script: (next) => {
      provider = next
    },
    issuer,
    ask: async (kid, { algorithm = 'RS256', at = AT, issuer: name, signal } = {}) => {
      const caller = signal ?? new AbortController().signal
      return wordFor(await keys.find(issuer(name), { kid, algorithm }, at, () => caller))
    },
  }
}

function wordFor(answer: VerificationKey | Denial): string {
  return denied(answer) ? answer.reason : `key ${answer.kid}`
}
