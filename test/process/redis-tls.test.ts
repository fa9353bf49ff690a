import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LiveIdentity } from '../../contracts/redis/credentials.ts'
import { aclFor, type RedisTls } from '../../contracts/redis/settings.ts'
import type { Trouble } from '../../contracts/redis/trouble.ts'
import { CA_EXTENSIONS, leafExtensions, type Made, make } from '../contracts/spiffe-openssl.ts'
import { freePort } from '../fixtures/free-ports.ts'
import { until } from '../fixtures/process.ts'
import { type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { openLink, PREFIX, replayOver, settingsFor, trusted } from './redis-stage.ts'

// TLS with client certificates against a redis-server that takes nothing else.

const directory = mkdtempSync(join(tmpdir(), 'portcullis-redis-tls-'))
const place = (name: string, text: string): string => {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

const authority = make({ subject: '/CN=servers', extensions: CA_EXTENSIONS })
const oldClients = make({ subject: '/CN=clients of old', extensions: CA_EXTENSIONS })
const newClients = make({ subject: '/CN=clients of now', extensions: CA_EXTENSIONS })
const served = (name: string) =>
  make({
    subject: '/CN=redis',
    extensions: [
      `subjectAltName=${name}`,
      'keyUsage=critical,digitalSignature',
      'extendedKeyUsage=serverAuth,clientAuth',
    ],
    issuer: authority,
  })
const client = (issuer: Made) =>
  make({ subject: '/CN=pod', extensions: leafExtensions('spiffe://cluster.example/ns/shop/sa/api'), issuer })
const identityOf = ({ pem, keyPem }: Made): LiveIdentity => ({ cert: pem, key: keyPem })

let server: RedisServer
let port: number

beforeAll(async () => {
  port = await freePort()
  const own = served('DNS:localhost,IP:127.0.0.1')
  const cert = place('server.pem', own.pem)
  const key = place('server.key', own.keyPem)
  const admin = client(newClients)
  server = await startRedis({
    port,
    config: {
      port: '0',
      'tls-port': String(port),
      'tls-cert-file': cert,
      'tls-key-file': key,
      'tls-ca-cert-file': place('clients.pem', oldClients.pem + newClients.pem),
      'tls-auth-clients': 'yes',
    },
    cli: [
      '--tls',
      '--cacert',
      place('servers.pem', authority.pem),
      '--cert',
      place('admin.pem', admin.pem),
      '--key',
      place('admin.key', admin.keyPem),
    ],
  })
})
afterAll(() => server[Symbol.asyncDispose]())

const tlsOf = (over: Partial<RedisTls> = {}): RedisTls => ({
  ca: { pem: authority.pem },
  client: 'live',
  serverName: undefined,
  ...over,
})

describe('over TLS', () => {
  test('fault E8: the certificate of the moment is shown with each connection, and one that is refused heals with the next', async () => {
    let identity = identityOf(client(oldClients))
    await using link = openLink(settingsFor(port, { tls: tlsOf() }), {}, () => identity)
    await link.connected()
    const memory = replayOver(link)
    await trusted(memory)
    // From now on the authority of old is not believed.
    place('clients.pem', newClients.pem)
    await server.kill()
    await server.revive()
    await until(
      'a refusal',
      () => link.redis.troubles().some((trouble) => ['tls', 'lost'].includes(trouble)) || undefined,
    )
    identity = identityOf(client(newClients))
    await link.connected()
    await trusted(memory)
  })
  test.each<readonly [string, RedisTls, (() => LiveIdentity | undefined) | undefined, readonly Trouble[]]>([
    [
      'an authority that we do not believe',
      tlsOf({ ca: { pem: newClients.pem } }),
      () => identityOf(client(newClients)),
      ['tls'],
    ],
    [
      'another name than the server has',
      tlsOf({ serverName: 'other.example' }),
      () => identityOf(client(newClients)),
      ['tls'],
    ],
    ['no certificate of ours', tlsOf({ client: undefined }), undefined, ['tls', 'lost']],
    ['no identity yet', tlsOf(), () => undefined, ['credentials']],
    ['a certificate of a stranger', tlsOf(), () => identityOf(client(authority)), ['tls', 'lost']],
  ])('%s: no connection, and the reason', async (_name, tls, identity, troubles) => {
    await using link = openLink(settingsFor(port, { tls }), {}, identity)
    await until('the reason', () => link.redis.troubles().some((one) => troubles.includes(one)) || undefined)
    expect(await replayOver(link).fresh()).toBe('unavailable')
    expect(link.reports).toEqual([])
  })
  test('fault E8: with a certificate a user of the ACL needs no password', async () => {
    server.cli('acl', 'setuser', ...aclFor('portcullis', PREFIX).split(' '), 'nopass')
    server.cli('acl', 'setuser', 'default', '-@all', '+acl', '+ping')
    const identity = identityOf(client(newClients))
    await using link = openLink(
      settingsFor(port, { tls: tlsOf(), username: 'portcullis' }),
      {},
      () => identity,
    )
    await link.connected()
    await trusted(replayOver(link))
  })
})
