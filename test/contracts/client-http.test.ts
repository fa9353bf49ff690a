import { connect, createServer as createHttp2, type Http2ServerResponse } from 'node:http2'
import { createServer as createTls, request as tlsRequest } from 'node:https'
import { createConnection, type Server } from 'node:net'
import { expect, test } from 'vitest'
import { fromHttp, type HttpQuestion } from '../../contracts/client.ts'
import { createGuard } from '../../contracts/guard.ts'
import { selfSigned } from './self-signed.ts'

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

test('only credential lines are read, in their order, whatever their case, byte for byte', () => {
  const rawHeaders = [
    'Host',
    'a',
    'DPoP',
    'p1',
    'authorization',
    ' Bearer a',
    'AUTHORIZATION',
    'b\xe9',
    'x-api-key',
    'k',
    'dpop',
    '',
  ]
  expect(
    fromHttp({ method: 'GET', url: '/', rawHeaders }).headers.map(({ name, value }) => [
      name,
      Buffer.from(value).toString('latin1'),
    ]),
  ).toEqual([
    ['dpop', 'p1'],
    ['authorization', ' Bearer a'],
    ['authorization', 'b\xe9'],
    ['dpop', ''],
  ])
})

test.each([
  ['a connection without TLS', undefined, []],
  ['a peer that TLS did not verify', { authorized: false }, []],
  ['a peer that says so itself', { authorized: 'true' }, []],
  ['a peer that TLS verified', { authorized: true }, ['x-forwarded-client-cert', 'client-cert']],
])('X5: what a proxy says of a certificate is handed on: %s', (_, socket, want) => {
  const rawHeaders = ['X-Forwarded-Client-Cert', 'Hash=aa', 'Client-Cert', ':aa:']
  const { headers } = fromHttp({ method: 'GET', url: '/', rawHeaders, ...(socket && { socket }) })
  expect(headers.map(({ name }) => name)).toEqual(want)
})

test('the URL is the one the caller asked for', () => {
  expect(fromHttp({ method: 'GET', url: '/1', originalUrl: '/api/1?x=1', rawHeaders: [] }).url).toBe(
    '/api/1?x=1',
  )
  expect(fromHttp({ method: 'GET', url: '/1?x=1', rawHeaders: [] }).url).toBe('/1?x=1')
})

test('a request without rawHeaders is a mistake that says so', () => {
  expect(() => fromHttp(Object.assign(Object.create(null), { headers: {} }))).toThrow(/rawHeaders/)
})

test('over HTTP/2 duplicate Authorization lines are seen, and pseudo headers are not', async () => {
  const seen: HttpQuestion[] = []
  const server = createHttp2((req, res) => {
    seen.push(fromHttp(req))
    res.end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // Frame by frame, because Node's own client refuses to send what an attacker would.
  const literal = (name: string, value: string): number[] => [
    0,
    name.length,
    ...Buffer.from(name),
    value.length,
    ...Buffer.from(value),
  ]
  const path = '/i?x=1'
  const block = Buffer.from([
    ...[0x82, 0x86, 0x01, 1, 0x61, 0x04, path.length, ...Buffer.from(path)],
    ...literal('authorization', 'Bearer a'),
    ...literal('authorization', 'Bearer b'),
  ])
  const socket = createConnection(portOf(server), '127.0.0.1')
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]))
  socket.write(Buffer.concat([Buffer.from([0, 0, block.length, 1, 5, 0, 0, 0, 1]), block]))
  while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  socket.destroy()
  server.close()
  expect(seen).toMatchObject([{ method: 'GET', url: '/i?x=1' }])
  expect(seen[0]?.headers.map(({ name, value }) => [name, Buffer.from(value).toString()])).toEqual([
    ['authorization', 'Bearer a'],
    ['authorization', 'Bearer b'],
  ])
})

test('the guard serves and refuses over HTTP/2', async () => {
  const guard = createGuard({ client: { check: async () => Promise.reject(new Error('not reached')) } })
  const open = guard.open({
    because: 'probe',
    handler: (_req: Parameters<typeof fromHttp>[0], res: Http2ServerResponse) => res.end('alive'),
  })
  const server = createHttp2(guard.http({ 'GET /alive': open }))
  guard.watch(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const session = connect(`http://127.0.0.1:${portOf(server)}`)
  const fetched = async (path: string): Promise<[number, string]> => {
    const stream = session.request({ ':path': path })
    const status = new Promise<number>((resolve) =>
      stream.on('response', (headers) => resolve(Number(headers[':status']))),
    )
    let body = ''
    for await (const chunk of stream.setEncoding('utf8')) body += chunk
    return [await status, body]
  }
  expect([await fetched('/alive'), await fetched('/other')]).toEqual([
    [200, 'alive'],
    [404, 'Not found.'],
  ])
  session.close()
  await new Promise<void>((resolve) => server.close(() => resolve()))
  expect(guard.counts()).toMatchObject({ open: 1, undeclared: 1, served: 0 })
})

test.each([
  ['a TLS client certificate is read as DER', true],
  ['a TLS connection without client certificate has none', false],
])('%s', async (_name, withCertificate) => {
  const seen: HttpQuestion[] = []
  const { key, cert, der } = selfSigned()
  const options = { key, cert, requestCert: true, rejectUnauthorized: false }
  const server = createTls(options, (req, res) => {
    seen.push(fromHttp(req))
    res.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const credentials = withCertificate ? { key, cert } : {}
  await new Promise((resolve, reject) => {
    const sent = tlsRequest({
      host: '127.0.0.1',
      port: portOf(server),
      rejectUnauthorized: false,
      agent: false,
      ...credentials,
    })
    sent.on('response', (response) => response.resume().on('end', resolve)).on('error', reject)
    sent.end()
  })
  server.close()
  const [question] = seen
  expect(question?.peerCertificate && Buffer.from(question.peerCertificate).equals(der)).toBe(
    withCertificate ? true : undefined,
  )
})
