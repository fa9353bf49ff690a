import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createStandaloneFeed } from '../../../sidecar/feed/standalone.ts'
import type { JwksLocation } from '../../../sidecar/settings.ts'
import { jwksOf, signingKey } from '../../fixtures/keys.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { forget, tempDirectory, until } from '../../fixtures/process.ts'
import { NO_TERMS } from '../../fixtures/terms.ts'

// A key file that changes while the first fetch of another issuer still hangs.

const directory = tempDirectory('start')
afterAll(() => forget(directory))

const path = join(directory, 'jwks.json')
const write = (kid: string) => writeFileSync(path, JSON.stringify(jwksOf([signingKey('RS256', kid)])))

function issuer(name: string, location: JwksLocation) {
  return {
    issuer: name,
    algorithms: new Set(['RS256'] as const),
    location,
    insecureLoopback: false,
    privateAddresses: false,
    refreshMs: 60_000,
    skewS: 60,
    tenant: { $case: 'fixedTenant', fixedTenant: 'acme' } as const,
    terms: NO_TERMS,
  }
}

test('is read again, although the change came before the first poll', async () => {
  const life = new AbortController()
  const hanging = Promise.withResolvers<Buffer>()
  let believed = ''
  const install = async (message: Snapshot) => {
    believed = message.issuers[0]?.keys?.jwks.toString() ?? ''
    return { ok: true, generation: message.generation } as const
  }
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
        issuer('https://file.test.example', { kind: 'file', path }),
        issuer('https://slow.test.example', { kind: 'uri', uri: 'https://slow.test.example/jwks' }),
      ],
    },
    {
      fetch: () => hanging.promise,
      now: () => 0,
      wall: () => 0,
      // Each pause is a turn of the event loop: the polls come as fast as they can.
      sleep: (_ms, signal) =>
        new Promise((done, fail) => setImmediate(() => (signal.aborted ? fail(signal.reason) : done()))),
      random: () => 0.5,
      report: () => undefined,
      install,
    },
  )
  write('old')
  const loaded = feed.load(life.signal)
  await until('the old keys', () => (believed.includes('"old"') ? true : undefined))
  write('new')
  hanging.reject(new Error('gave up'))
  await loaded
  const running = feed.run(life.signal).catch(() => undefined)
  await until('the new keys', () => (believed.includes('"new"') ? true : undefined))
  life.abort()
  await running
  expect(believed).toContain('"new"')
})
