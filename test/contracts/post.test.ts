// The one outgoing POST, against real servers: it cannot be turned inward, kept waiting or fed without end, and it pays for TLS once.
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, test } from 'vitest'
import { createPoster, type Posted, type PostRules } from '../../contracts/post.ts'
import { drip, type Reply, silence, startScriptedIssuer, text } from '../fixtures/scripted-issuer.ts'
import { selfSigned } from './self-signed.ts'

const RULES: PostRules = {
  insecureLoopback: true,
  privateAddresses: false,
  maxBytes: 1_000,
  timeoutMs: 10_000,
  ca: '',
  client: undefined,
}
const never = () => new AbortController().signal
const server = await startScriptedIssuer()
const poster = createPoster()
afterAll(async () => {
  poster[Symbol.dispose]()
  await server[Symbol.asyncDispose]()
})

async function post(reply: Reply, change: Partial<PostRules> = {}, signal = never()): Promise<Posted> {
  server.reply(reply)
  return poster.post(server.url, () => ({ token: 'secret one' }), { ...RULES, ...change }, signal)
}

test('T1: a form is sent whole, and the answer comes with its status', async () => {
  const posted = await post(text('{"a":1}', 'application/json'))
  expect(posted).toEqual({ kind: 'answered', status: 200, json: true, body: Buffer.from('{"a":1}') })
  expect(server.asked.at(-1)).toEqual({ token: 'secret one' })
})

test.each([400, 401, 429, 500, 503])('T6: status %i is an answer, not silence', async (status) => {
  expect(await post(text('{}', 'application/json', status))).toMatchObject({ kind: 'answered', status })
})

test('T7: a redirect is an answer that nobody follows', async () => {
  const before = server.asked.length
  const elsewhere: Reply = (_form, response) => void response.writeHead(307, { location: server.url }).end()
  expect(await post(elsewhere)).toMatchObject({ kind: 'answered', status: 307, json: false })
  expect(server.asked.length).toBe(before + 1)
})

test.each([
  [999, 'answered'],
  [1_000, 'answered'],
  [1_001, 'unusable'],
  [100_000, 'unusable'],
])('T7: an answer of %i bytes is %s', async (bytes, kind) => {
  const body = 'x'.repeat(bytes)
  expect(await post(text(body, 'application/json'))).toMatchObject({ kind })
  // Without a length that says so beforehand.
  const chunked: Reply = (_form, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write(body.slice(0, 10))
    response.end(body.slice(10))
  }
  expect(await post(chunked)).toMatchObject({ kind })
})

test.each([
  ['silence', silence],
  ['a drip', drip],
])('%s ends after the time that there is', async (_name, reply) => {
  const gone = new AbortController()
  const slower = post(reply, { timeoutMs: 5_000 }, gone.signal)
  const first = await Promise.race([slower, post(reply, { timeoutMs: 100 })])
  expect(first).toMatchObject({ kind: 'unreachable', why: expect.stringContaining('within 100 ms') })
  gone.abort()
  await slower
})

test('the caller ends the wait, and what is said of it holds nothing of the form', async () => {
  const gone = new AbortController()
  setTimeout(() => gone.abort(), 50)
  const posted = await post(silence, { timeoutMs: 5_000 }, gone.signal)
  expect(posted.kind).toBe('unreachable')
  expect(JSON.stringify(posted)).not.toContain('secret')
})

test('a connection that the server closed meanwhile is replaced without a word', async () => {
  const closing: Reply = (_form, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    setTimeout(() => response.socket?.destroy(), 5)
  }
  await post(closing)
  for (let at = 0; at < 5; at++) expect(await post(closing)).toMatchObject({ kind: 'answered', status: 200 })
})

test('what is asked once more, after a kept connection was reset before any answer, is a form made anew', async () => {
  const own = await startScriptedIssuer()
  let made = 0
  using fresh = createPoster()
  const ask = () => fresh.post(own.url, () => ({ jti: `${++made}` }), RULES, never())
  own.reply(text('{}', 'application/json'))
  await ask()
  own.reply((form, response) => {
    if (form['jti'] === '2') response.socket?.resetAndDestroy()
    else response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  expect(await ask()).toMatchObject({ kind: 'answered', status: 200 })
  expect(own.asked.map(({ jti }) => jti)).toEqual(['1', '2', '3'])
  await own[Symbol.asyncDispose]()
})

test('a question that has been answered in part is not asked again', async () => {
  const unhandled: unknown[] = []
  const note = (cause: unknown) => void unhandled.push(cause)
  process.on('unhandledRejection', note)
  const own = await startScriptedIssuer()
  const before = poster.connections()
  const timeoutMs = 2_000
  const ask = (change: Partial<PostRules> = {}) =>
    poster.post(own.url, () => ({ token: 'one' }), { ...RULES, ...change }, never())
  own.reply(text('{}', 'application/json'))
  await ask()
  expect(poster.connections()).toBe(before + 1)
  own.reply((_form, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
    response.write('{"a":')
    setTimeout(() => response.socket?.resetAndDestroy(), 20)
  })
  expect(await ask({ timeoutMs })).toMatchObject({ kind: 'unreachable' })
  await new Promise((resolve) => setTimeout(resolve, timeoutMs + 100))
  expect(own.asked.length).toBe(2)
  expect(unhandled).toEqual([])
  process.off('unhandledRejection', note)
  await own[Symbol.asyncDispose]()
})

describe('it cannot be turned inward', () => {
  test.each([
    ['http://127.0.0.1:1/', { insecureLoopback: false }],
    ['http://example.com/', {}],
    ['https://127.0.0.1:1/', { insecureLoopback: false }],
    ['https://10.0.0.1/', {}],
    ['https://169.254.169.254/', { privateAddresses: true }],
    ['https://[::ffff:169.254.169.254]/', { privateAddresses: true }],
    ['https://user:pw@127.0.0.1/', {}],
    ['https://localhost:1/', { insecureLoopback: false }],
    ['file:///etc/passwd', {}],
    ['no url', {}],
  ] as const)('%s', async (url, change) => {
    const before = server.asked.length
    const posted = await poster.post(url, () => ({}), { ...RULES, ...change }, never())
    expect(posted.kind).toBe('unreachable')
    expect(server.asked.length).toBe(before)
  })

  test('an open connection of whoever may reach more is not used by whoever may reach less', async () => {
    await post(text('{}', 'application/json'))
    const before = server.asked.length
    const posted = await poster.post(server.url, () => ({}), { ...RULES, insecureLoopback: false }, never())
    expect(posted.kind).toBe('unreachable')
    expect(server.asked.length).toBe(before)
  })
})

test('T1: a server that another authority vouches for, or that has another name, is told nothing', async () => {
  const [theirs, ours] = [selfSigned(), selfSigned()]
  const shown: string[] = []
  const tls = createTlsServer(
    { key: theirs.key, cert: theirs.cert, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      shown.push((request.socket as import('node:tls').TLSSocket).getPeerX509Certificate()?.subject ?? '')
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    },
  )
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(tls.address() as AddressInfo).port}/`
  const ask = (ca: string) =>
    poster.post(url, () => ({}), { ...RULES, ca, client: { cert: ours.cert, key: ours.key } }, never())
  expect(await ask('')).toMatchObject({ kind: 'unreachable' })
  // Its certificate is for another name than the address.
  expect(await ask(theirs.cert)).toMatchObject({ kind: 'unreachable' })
  expect(shown).toEqual([])
  tls.closeAllConnections()
  tls.close()
})

test('connections are few, and kept', async () => {
  const before = server.connections()
  const slow: Reply = (_form, response) =>
    void setTimeout(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'), 10)
  await Promise.all(Array.from({ length: 64 }, () => post(slow)))
  expect(server.connections() - before).toBeLessThanOrEqual(8)
  const after = server.connections()
  for (let at = 0; at < 20; at++) await post(slow)
  expect(server.connections()).toBe(after)
})
