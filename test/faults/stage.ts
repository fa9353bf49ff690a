import { expect } from 'vitest'
import { type SigningKey, signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { openRaw, type RawClient } from '../fixtures/raw.ts'
import { SHIPPED_MEMORY, type Sidecar, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from '../process/asker.ts'
import { type Ground, openGround } from '../process/ground.ts'
import { alive } from '../process/scrape.ts'
import type { Identity } from './certificates.ts'
import { type FaultyIssuer, openIssuer } from './issuer.ts'

// A sidecar in a process of its own that fetches the keys of an issuer which fails on demand, and what must hold whatever fails.

export const OLD = signingKey('RS256', 'old')
export const NEW = signingKey('RS256', 'new')

export interface Stage extends AsyncDisposable {
  readonly issuer: FaultyIssuer
  readonly sidecar: Sidecar
  readonly raw: RawClient
  // Verdict for a token of tokens.ts under this key, or for this very token.
  ask(token: SigningKey | string): Promise<string>
  // Asks again and again until the verdict is this one.
  becomes(token: SigningKey | string, verdict: string): Promise<void>
  // Still running, nothing thrown, nothing printed, and no token that was shown repeated in any log or metric.
  sound(): Promise<void>
}

export interface StageOptions {
  readonly identity?: Identity
  readonly env?: Readonly<Record<string, string>>
  readonly limits?: Tree
  readonly issuer?: Tree
  // Done before the sidecar starts; publishes OLD unless given.
  readonly before?: (issuer: FaultyIssuer) => void
  readonly wait?: 'ready' | 'listening'
}

const LIMITS = { deadlineMs: 5_000, jwksRefreshSeconds: 300 }
const HEALED_WITHIN_MS = 80_000

export async function openStage(options: StageOptions = {}): Promise<Stage> {
  await using undo = new AsyncDisposableStack()
  const ground: Ground = undo.use(openGround())
  const issuer = undo.use(await openIssuer(options.identity))
  const { before = () => issuer.publish([OLD]), env = {}, wait = 'ready' } = options
  before(issuer)
  const fetched = ground.issuer({ jwks: { uri: issuer.uri }, allowInsecureLoopback: true, ...options.issuer })
  const config = ground.config({ issuers: [fetched], limits: { ...LIMITS, ...options.limits } })
  const sidecar = undo.use(await startSidecar({ config, env: { ...SHIPPED_MEMORY, ...env }, wait }))
  const raw = undo.use(openRaw(sidecar.unix))
  const shown = new Set<string>()
  const ask = (token: SigningKey | string) => {
    const text = typeof token === 'string' ? token : forge({ key: token })
    if (text.length > 64) shown.add(text)
    return verdictAt(raw, question({ token: text }))
  }
  const kept = undo.move()
  return {
    issuer,
    sidecar,
    raw,
    ask,
    becomes: async (token, verdict) => {
      const asked = async () => ((await ask(token)) === verdict ? true : undefined)
      await until(verdict, asked, { withinMs: HEALED_WITHIN_MS, everyMs: 50 })
    },
    sound: async () => {
      expect(alive(sidecar.pid)).toBe(true)
      expect(sidecar.noise).toEqual([])
      expect(sidecar.events.filter(({ event }) => event === 'fault' || event === 'failed')).toEqual([])
      const { text } = await sidecar.admin('/metrics')
      const told = text + JSON.stringify(sidecar.events) + JSON.stringify(sidecar.decisions)
      for (const token of shown) {
        const [, claims = '', signature = ''] = token.split('.')
        if (claims.length > 32) expect(told.includes(claims)).toBe(false)
        if (signature.length > 32) expect(told.includes(signature)).toBe(false)
      }
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
