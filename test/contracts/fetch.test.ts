// The one outgoing GET, against real servers: it cannot be turned inward, kept waiting or fed without end.
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import type { FetchRules } from '../../contracts/fetch.ts'
import { fetchDocument, WrongStatus } from '../../contracts/fetch.ts'
import { type LocalServer, serve } from '../sidecar/feed/http.ts'

const LOOPBACK: FetchRules = { insecureLoopback: true, privateAddresses: false, maxBytes: 1000 }
const NOTHING: FetchRules = { insecureLoopback: false, privateAddresses: false, maxBytes: 1000 }
const BOTH: FetchRules = { insecureLoopback: true, privateAddresses: true, maxBytes: 1000 }
const never = () => new AbortController().signal

async function get(url: string, rules = LOOPBACK, signal = never()): Promise<string> {
  return (await fetchDocument(url, rules, signal)).toString()
}

async function problem(url: string, rules = LOOPBACK, signal = never()): Promise<string> {
  return get(url, rules, signal).then(
    () => 'no problem',
    (cause: unknown) => (cause instanceof Error ? cause.message : String(cause)),
  )
}

function answer(status: number, headers: Readonly<Record<string, string>>, body: string): RequestListener {
  return (_request, response) => void response.writeHead(status, headers).end(body)
}
const json = (body: string) => answer(200, { 'content-type': 'application/json' }, body)

test('a JSON document is fetched from loopback when that is allowed', async () => {
  await using server = await serve(json('{"keys":[]}'))
  expect(await get(`${server.url}/jwks?x=1`)).toBe('{"keys":[]}')
  expect(server.requests).toEqual(['GET /jwks?x=1'])
})

test('a request carries nothing but what it needs: no cookie, no credential', async () => {
  let headers: readonly string[] = []
  await using server = await serve((request, response) => {
    headers = Object.keys(request.headers).sort()
    json('{}')(request, response)
  })
  await get(`${server.url}/`)
  expect(headers).toEqual(['accept', 'connection', 'host'])
})

test.each([
  'application/json',
  'application/json; charset=utf-8',
  'Application/JSON',
  'application/jwk-set+json',
  'application/problem+json',
])('content type %s is JSON', async (type) => {
  await using server = await serve(answer(200, { 'content-type': type }, '{}'))
  expect(await get(server.url)).toBe('{}')
})

test.each(['text/html', 'text/plain', 'application/octet-stream', 'application/jsonp', 'text/json', ''])(
  'content type "%s" is refused',
  async (type) => {
    await using server = await serve(answer(200, type ? { 'content-type': type } : {}, '{}'))
    expect(await problem(server.url)).toBe(`${server.url}: its content type is not JSON`)
  },
)

test.each([301, 302, 303, 307, 308])('a redirect with %i is not followed', async (status) => {
  await using target = await serve(json('{"keys":[]}'))
  await using server = await serve(
    answer(status, { location: `${target.url}/`, 'content-type': 'application/json' }, '{}'),
  )
  expect(await problem(server.url)).toBe(`${server.url}: answered with a redirect, which is not followed`)
  expect(target.requests).toEqual([])
})

test.each([201, 204, 206, 400, 401, 404, 500, 503])('status %i is no answer', async (status) => {
  await using server = await serve(answer(status, { 'content-type': 'application/json' }, ''))
  expect(await problem(server.url)).toBe(`${server.url}: answered with status ${status}`)
})

const DATE = 'Thu, 26 Nov 2026 11:00:00 GMT'
test.each<readonly [what: string, headers: Readonly<Record<string, string>>, ms: number]>([
  ['seconds', { 'retry-after': '7' }, 7_000],
  ['none', { 'retry-after': '0' }, 0],
  [
    'a date, by the clock of the server',
    { 'retry-after': 'Thu, 26 Nov 2026 11:00:30 GMT', date: DATE },
    30_000,
  ],
  ['a date gone by', { 'retry-after': 'Thu, 26 Nov 2026 10:00:30 GMT', date: DATE }, 0],
  ['negative seconds', { 'retry-after': '-7', date: DATE }, 0],
  ['nonsense', { 'retry-after': 'soon', date: DATE }, 0],
  ['too many digits', { 'retry-after': '9'.repeat(10), date: DATE }, 0],
  ['nothing', {}, 0],
])('what Retry-After says is told with a wrong status: %s', async (_what, headers, ms) => {
  await using server = await serve(answer(503, headers, ''))
  const cause = await fetchDocument(server.url, LOOPBACK, never()).catch((thrown: unknown) => thrown)
  if (!(cause instanceof WrongStatus)) throw new Error(`not a WrongStatus: ${cause}`)
  expect(cause.retryAfterMs).toBe(ms)
})

test.each([
  [999, 'ok'],
  [1000, 'ok'],
  [1001, 'larger than 1000 bytes'],
])('a body of %i bytes where 1000 are allowed: %s', async (length, want) => {
  await using server = await serve(json('x'.repeat(length)))
  const outcome = await problem(server.url)
  expect(outcome === 'no problem' ? 'ok' : outcome).toContain(want)
})

test('a body without end is cut at the limit, not read', async () => {
  let sent = 0
  await using server = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const chunk = 'x'.repeat(64 * 1024)
    const more = () => {
      sent += chunk.length
      if (!response.destroyed && sent < 500_000_000) response.write(chunk, () => setImmediate(more))
    }
    more()
  })
  expect(await problem(server.url)).toContain('larger than 1000 bytes')
  expect(sent).toBeLessThan(20_000_000)
})

test('a compressed body is not unpacked', async () => {
  await using server = await serve(
    answer(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'raw'),
  )
  expect(await get(server.url)).toBe('raw')
})

test('a server that says nothing, drips, or stops halfway is left at the caller’s signal', async () => {
  const drip: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const timer = setInterval(() => response.write(' '), 5)
    response.on('close', () => clearInterval(timer))
  }
  const listeners: readonly RequestListener[] = [
    () => undefined,
    drip,
    (_request, response) => void response.writeHead(200, { 'content-type': 'application/json' }).write('{'),
  ]
  for (const listener of listeners) {
    await using server = await serve(listener)
    expect(await problem(server.url, { ...LOOPBACK, maxBytes: 1_000_000 }, AbortSignal.timeout(40))).not.toBe(
      'no problem',
    )
  }
})

test('a signal that has aborted already causes no request', async () => {
  await using server = await serve(json('{}'))
  expect(await problem(server.url, LOOPBACK, AbortSignal.abort())).not.toBe('no problem')
  expect(server.requests).toEqual([])
})

test('an answer cut off in the middle is no answer', async () => {
  await using server = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
    response.write('{"keys":[]}', () => response.destroy())
  })
  expect(await problem(server.url)).not.toBe('no problem')
})

test('something that is no HTTP server is a problem like any other', async () => {
  const server = createServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  expect(await problem(`http://127.0.0.1:${port}/`)).toContain(`http://127.0.0.1:${port}/: `)
  server.close()
})

const HTTP_REFUSED = 'only https is allowed'
const LOOPBACK_REFUSED = 'its address is loopback, which is refused'
const FORBIDDEN = 'its address is forbidden, which is refused'

test.each<readonly [url: string, rules: FetchRules, why: string]>([
  ['http://127.0.0.1:PORT/', NOTHING, HTTP_REFUSED],
  ['https://127.0.0.1:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://localhost:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://LOCALHOST:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://[::1]:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://2130706433:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://0x7f.1:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://127.1:PORT/', NOTHING, LOOPBACK_REFUSED],
  ['https://[::ffff:127.0.0.1]:PORT/', NOTHING, 'which is refused'],
  ['http://[::ffff:127.0.0.1]:PORT/', LOOPBACK, FORBIDDEN],
  ['https://[::7f00:1]:PORT/', BOTH, FORBIDDEN],
  ['https://0.0.0.0:PORT/', BOTH, FORBIDDEN],
  ['https://[::]:PORT/', BOTH, FORBIDDEN],
  ['https://169.254.169.254/latest/meta-data', BOTH, FORBIDDEN],
  ['http://169.254.169.254/latest/meta-data', BOTH, FORBIDDEN],
  ['https://[fe80::1]/', BOTH, FORBIDDEN],
  ['https://10.0.0.1/', LOOPBACK, 'set allowPrivateAddresses'],
  ['https://[fd00::1]/', LOOPBACK, 'set allowPrivateAddresses'],
  ['http://10.0.0.1/', BOTH, 'its address is private, which is refused over http'],
  ['http://8.8.8.8/', BOTH, 'its address is public, which is refused over http'],
  ['ftp://127.0.0.1:PORT/', BOTH, HTTP_REFUSED],
  ['file:///etc/passwd', BOTH, HTTP_REFUSED],
  ['data:application/json,{}', BOTH, HTTP_REFUSED],
  ['https://user:secret@127.0.0.1:PORT/', BOTH, 'a URL with credentials is refused'],
  ['127.0.0.1:PORT', BOTH, ': '],
  ['', BOTH, 'not a URL'],
])('%s is refused before anything is sent', async (url, rules, why) => {
  await using server: LocalServer = await serve(json('{}'))
  expect(await problem(url.replace('PORT', String(server.port)), rules)).toContain(why)
  expect(server.requests).toEqual([])
})

test('credentials of a refused URL are not repeated in the message', async () => {
  expect(await problem('https://user:secret@idp.example/')).not.toContain('secret')
})

test('a name that leads to loopback is loopback: allowed with the flag, refused without', async () => {
  await using server = await serve(json('{}'))
  expect(await get(`http://localhost:${server.port}/`)).toBe('{}')
  expect(await problem(`https://localhost:${server.port}/`, NOTHING)).toContain(LOOPBACK_REFUSED)
  expect(server.requests).toHaveLength(1)
})

test('a server keeps seeing the name that was asked for, while the connection goes to the checked address', async () => {
  let host = ''
  await using server = await serve((request, response) => {
    host = request.headers.host ?? ''
    json('{}')(request, response)
  })
  await get(`http://localhost:${server.port}/`)
  expect(host).toBe(`localhost:${server.port}`)
})

test('https is never answered in plain text', async () => {
  await using server = await serve(json('{}'))
  expect(await problem(`https://127.0.0.1:${server.port}/`, LOOPBACK)).not.toBe('no problem')
  expect(server.requests).toEqual([])
})

test('a name that does not exist is a problem like any other', async () => {
  expect(await problem('https://nowhere.invalid/', BOTH, AbortSignal.timeout(500))).not.toBe('no problem')
})
