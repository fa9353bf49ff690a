import type { RequestListener } from 'node:http'
import { describe, expect, test } from 'vitest'
import { type FetchRules, fetchDocument } from '../../contracts/fetch.ts'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { serve } from '../sidecar/feed/http.ts'
import { openArena } from './arena.ts'

const old = signingKey('ES256', 'old')
const fresh = signingKey('ES256', 'fresh')
const RULES: FetchRules = { insecureLoopback: true, privateAddresses: false, maxBytes: 256 * 1024 }
const PATIENCE_MS = 1_000
const JSON_TYPE = { 'content-type': 'application/json' }
const MEGABYTE = Buffer.alloc(1024 * 1024, ' ')

/** What a token under a new kid is told when its key is fetched from `url`, and one under the known kid beside it. */
async function verdicts(url: string): Promise<readonly string[]> {
  const issuer = { keys: [old], algorithms: ['ES256'], refreshable: true }
  const arena = await openArena({
    issuers: [issuer],
    refresh: async () => {
      try {
        const document = await fetchDocument(url, RULES, AbortSignal.timeout(PATIENCE_MS))
        return (await arena.pipeline.install({ issuers: [{ ...issuer, document }] })).ok
      } catch {
        return false
      }
    },
  })
  return Promise.all([arena.verdict({ key: fresh }), arena.verdict({ key: old })])
}

const drip: RequestListener = (_request, response) => {
  response.writeHead(200, JSON_TYPE).write('{"keys":[')
  const dripping = setInterval(() => response.write(' '), 20)
  response.on('close', () => clearInterval(dripping))
}

describe('attack 78: a key server that drips, never ends, or leads elsewhere', () => {
  test('one that drips a byte at a time is left, and known keys go on', async () => {
    await using server = await serve(drip)
    expect(await verdicts(server.url)).toEqual(['jwks_unavailable', 'allow'])
  })

  test('48 MB of key set are cut off at the limit', async () => {
    let sent = 0
    await using server = await serve((_request, response) => {
      response.writeHead(200, JSON_TYPE)
      const more = (): void => {
        if (response.destroyed || sent >= 48 * MEGABYTE.length) return void response.end('{"keys":[]}')
        sent += MEGABYTE.length
        response.write(MEGABYTE, more)
      }
      more()
    })
    expect(await verdicts(server.url)).toEqual(['jwks_unavailable', 'allow'])
    expect(sent).toBeLessThan(48 * MEGABYTE.length)
  })

  test('a redirect, inward or to the very keys, is not followed', async () => {
    await using keys = await serve((_request, response) => {
      response.writeHead(200, JSON_TYPE).end(JSON.stringify(jwksOf([old, fresh])))
    })
    for (const location of ['http://169.254.169.254/latest/meta-data/', `${keys.url}/jwks`]) {
      await using server = await serve((_request, response) => {
        response.writeHead(302, { location, ...JSON_TYPE }).end('{}')
      })
      expect(await verdicts(server.url), location).toEqual(['jwks_unavailable', 'allow'])
    }
    expect(keys.requests).toEqual([])
  })

  test.each(['http://169.254.169.254/jwks', 'https://169.254.169.254/jwks', 'https://[fd00::1]/jwks'])(
    '%s is asked for nothing',
    async (url) => {
      expect(await verdicts(url)).toEqual(['jwks_unavailable', 'allow'])
    },
  )

  test('control: from an honest server the new key arrives', async () => {
    await using server = await serve((_request, response) => {
      response.writeHead(200, JSON_TYPE).end(JSON.stringify(jwksOf([old, fresh])))
    })
    expect(await verdicts(server.url)).toEqual(['allow', 'allow'])
  })
})
