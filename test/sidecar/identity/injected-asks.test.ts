// An injected sidecar asks authorization servers as the workload: by the X.509-SVID that its operator issued, and by a JWT-SVID.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { expect, test, vi } from 'vitest'
import { ClientAuthentication, type Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { forget, tempDirectory } from '../../fixtures/process.ts'
import { question, verdictOf } from '../../fixtures/question.ts'
import { forge, goodClaims, ISSUER } from '../../fixtures/tokens.ts'
import { openAsker } from '../../process/asker.ts'
import { makePair } from '../../process/asking-ground.ts'
import { exchangeAt } from '../../process/exchange-client.ts'
import { WORKLOAD } from './identity-world.ts'
import { startInjected } from './injected-world.ts'

vi.setConfig({ testTimeout: 60_000 })

interface Seen {
  readonly path: string
  readonly names: string | undefined
  readonly form: Readonly<Record<string, string>>
}

async function startServer(directory: string) {
  const pair = makePair(directory, 'server', 'IP:127.0.0.1')
  const seen: Seen[] = []
  const tls = {
    cert: pair.pem,
    key: readFileSync(pair.key),
    requestCert: true,
    rejectUnauthorized: false,
  }
  const server = createServer(tls, async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()))
    const names = (request.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName
    seen.push({ path: request.url ?? '', names, form })
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ active: true, ...goodClaims() }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, ca: pair.pem, seen, close: () => server.closeAllConnections() ?? server.close() }
}

test('T1: 000-07: the SVID of the workload is shown to the issuer, and its JWT-SVID names it as the actor', async () => {
  const directory = tempDirectory('injected-asks')
  const server = await startServer(directory)
  const endpoint = (path: string, authentication: ClientAuthentication) => ({
    url: `${server.url}${path}`,
    authentication,
    clientId: '',
    timeoutMs: 5_000,
    ca: server.ca,
    insecureLoopback: true,
    privateAddresses: false,
  })
  const mtls = ClientAuthentication.CLIENT_AUTHENTICATION_MTLS
  const signed = ClientAuthentication.CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT
  const tell = (snapshot: Snapshot): Snapshot => ({
    ...snapshot,
    issuers: snapshot.issuers.map((issuer) => ({
      ...issuer,
      introspection: { endpoint: endpoint('/introspect', mtls), opaque: true, cacheMs: 0 },
      exchange: { endpoint: endpoint('/token', signed) },
    })),
  })
  await using sidecar = await startInjected({ tell, more: ['--credentials', 'On'] })
  await sidecar.ready()

  using asker = openAsker(sidecar.checkSocket)
  expect(verdictOf(await asker.ask(question({ token: 'opaque-token' })))).toBe('allow')
  expect(server.seen[0]).toMatchObject({
    path: '/introspect',
    names: `URI:${WORKLOAD}`,
    form: { token: 'opaque-token', client_id: WORKLOAD },
  })

  using client = exchangeAt(sidecar.credentialsSocket)
  await client.exchange({ subjectToken: forge(), nameWorkloadAsActor: true })
  const form: Readonly<Record<string, string>> = server.seen[1]?.form ?? {}
  expect(form).toMatchObject({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    actor_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    client_id: WORKLOAD,
  })
  const actor = JSON.parse(Buffer.from(form['actor_token']?.split('.')[1] ?? '', 'base64url').toString())
  expect(actor).toMatchObject({ sub: WORKLOAD })
  expect([actor.aud].flat()).toEqual([ISSUER])

  // What the key signs and what the token was are nobody's business.
  const said = sidecar.text()
  for (const secret of ['opaque-token', form['client_assertion'], form['actor_token'], form['subject_token']])
    expect(said).not.toContain(secret)
  server.close()
  forget(directory)
})
