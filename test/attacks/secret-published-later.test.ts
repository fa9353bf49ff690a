import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Snapshot } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createStandaloneFeed } from '../../sidecar/feed/standalone.ts'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import { NO_TERMS } from '../fixtures/terms.ts'
import { ISSUER } from '../fixtures/tokens.ts'

// Row 39, later: a provider whose keys we believe publishes the private half. Whoever read it can sign like the provider.

const directory = mkdtempSync(join(tmpdir(), 'portcullis-leak-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const rsa = signingKey('RS256')
const good = jwksOf([rsa])
const never = new AbortController().signal

function openFeed() {
  const path = join(directory, 'jwks.json')
  const installed: Snapshot[] = []
  const events: string[] = []
  const feed = createStandaloneFeed(
    {
      audience: 'https://api.test.example',
      exclusiveAudience: false,
      maxTokenLifetimeS: 3600,
      policyPath: POLICY.invoices,
      routes: [],
      tokens: undefined,
      jwksStaleMs: 60_000,
      client: undefined,
      issuers: [
        {
          issuer: ISSUER,
          algorithms: new Set(['RS256'] as const),
          location: { kind: 'file', path },
          insecureLoopback: false,
          privateAddresses: false,
          refreshMs: 60_000,
          skewS: 60,
          tenant: { $case: 'fixedTenant', fixedTenant: 'acme' },
          terms: NO_TERMS,
        },
      ],
    },
    {
      fetch: () => Promise.reject(new Error('no network')),
      now: () => 0,
      wall: () => 0,
      sleep: () => Promise.resolve(),
      random: () => 0,
      report: (event) => void events.push(event),
      install: async (message) => {
        installed.push(message)
        return { ok: true, generation: message.generation }
      },
    },
  )
  const keys = () => installed.at(-1)?.issuers[0]?.keys?.jwks.toString()
  return { path, feed, keys, events }
}

describe('attack 39: J19: a set that was good publishes', () => {
  test.each([
    ['its private key', { keys: [{ ...good.keys[0], d: 'AQAB' }] }],
    ['a symmetric key beside it', { keys: [...good.keys, { kty: 'oct', k: 'AQAB', kid: 'x' }] }],
  ])('%s: the keys we had are believed no longer, loudly', async (_name, leaked) => {
    const { path, feed, keys, events } = openFeed()
    writeFileSync(path, JSON.stringify(good))
    await feed.load(never)
    expect(keys()).toBe(JSON.stringify(good))

    writeFileSync(path, JSON.stringify(leaked))
    await feed.reload(never)
    expect(keys()).toBe('')
    expect(events).toContain('jwks_secret_published')

    writeFileSync(path, JSON.stringify(good))
    await feed.reload(never)
    expect(keys()).toBe(JSON.stringify(good))
  })

  test.each([
    ['nothing', '{"keys":[]}'],
    ['garbage', 'not json'],
  ])('control: %s, which is a mistake and no message, and the keys we had go on', async (_name, text) => {
    const { path, feed, keys, events } = openFeed()
    writeFileSync(path, JSON.stringify(good))
    await feed.load(never)
    writeFileSync(path, text)
    await feed.reload(never)
    expect(keys()).toBe(JSON.stringify(good))
    expect(events).not.toContain('jwks_secret_published')
  })
})
