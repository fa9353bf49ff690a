import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fetchVersion } from '../../../contracts/fetch.ts'
import { fetchSources, SOURCE_LIMITS, sourceDigest, sourcesFrom } from '../../../operator/gather/sources.ts'

const RULE = 'package app\n'
const from = (files: Readonly<Record<string, string>>) => sourcesFrom(new Map(Object.entries(files)), 'here')

test('modules and settings are told apart by their names', () => {
  expect(
    from({ 'app/a.rego': RULE, 'a_test.rego': 'package app_test\n', 'settings.json': '{"limit":1}' }),
  ).toEqual({
    ok: true,
    value: {
      modules: new Map([
        ['app/a.rego', RULE],
        ['a_test.rego', 'package app_test\n'],
      ]),
      settings: '{"limit":1}',
    },
  })
})

test.each<readonly [what: string, files: Readonly<Record<string, string>>, message: RegExp]>([
  ['nothing', {}, /there is no \*\.rego/],
  ['settings alone', { 'settings.json': '{}' }, /there is no \*\.rego/],
  ['another file', { 'a.rego': RULE, 'README.md': 'x' }, /"README\.md" is neither/],
  ['a name that climbs', { '../a.rego': RULE }, /"\.\.\/a\.rego" is neither/],
  ['settings that are no object', { 'a.rego': RULE, 'settings.json': '[1]' }, /not a JSON object/],
  ['settings that are no JSON', { 'a.rego': RULE, 'settings.json': '{' }, /not a JSON object/],
  [
    'a module too large',
    { 'a.rego': 'x'.repeat(SOURCE_LIMITS.moduleBytes + 1) },
    /a\.rego is larger than 65536 bytes/,
  ],
  [
    'too many modules',
    Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`m${i}.rego`, RULE])),
    /more than 64/,
  ],
])('%s: refused, and the message says where', (_what, files, message) => {
  expect(from(files)).toEqual({ ok: false, message: expect.stringMatching(message) })
})

test('the digest is of the content, whatever the order, and of whether tests are asked for', () => {
  const [one, two, other] = [
    {
      modules: new Map([
        ['a.rego', '1'],
        ['b.rego', '2'],
      ]),
      settings: '{}',
    },
    {
      modules: new Map([
        ['b.rego', '2'],
        ['a.rego', '1'],
      ]),
      settings: '{}',
    },
    {
      modules: new Map([
        ['a.rego', '12'],
        ['b.rego', ''],
      ]),
      settings: '{}',
    },
  ]
  if (!one || !two || !other) throw new Error('three')
  expect(sourceDigest(two, 'Required')).toBe(sourceDigest(one, 'Required'))
  expect(sourceDigest(other, 'Required')).not.toBe(sourceDigest(one, 'Required'))
  expect(sourceDigest(one, 'Skip')).not.toBe(sourceDigest(one, 'Required'))
})

let server: Server
let url: string
let body: Buffer
let type: string
let conditions: (string | undefined)[]

beforeEach(async () => {
  body = archive({ 'app/a.rego': RULE, 'settings.json': '{}' })
  type = 'application/gzip'
  conditions = []
  server = createServer((request, response) => {
    conditions.push(request.headers['if-none-match'])
    const known = request.headers['if-none-match'] === '"1"'
    response.writeHead(known ? 304 : 200, { 'content-type': type, etag: '"1"' })
    response.end(known ? undefined : body)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/bundle.tar.gz`
})
afterEach(() => server.close())

function archive(files: Readonly<Record<string, string>>, link?: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-sources-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, 'in', path)), { recursive: true })
    writeFileSync(join(folder, 'in', path), text)
  }
  if (link) symlinkSync('/etc/passwd', join(folder, 'in', link))
  execFileSync('tar', ['--format=ustar', '-czf', join(folder, 'out.tar.gz'), '-C', join(folder, 'in'), '.'])
  return readFileSync(join(folder, 'out.tar.gz'))
}

const get = (etag?: string, sha256?: string) =>
  fetchSources(
    { url, ca: undefined, privateAddresses: false, sha256 },
    etag,
    // The guard itself is tested elsewhere; here the server is on the loopback without TLS.
    (to, rules, signal) => fetchVersion(to, { ...rules, insecureLoopback: true }, signal),
    AbortSignal.timeout(10_000),
  )

test('an archive of sources is fetched, and not again while its entity tag holds', async () => {
  const first = await get()
  expect(first).toMatchObject({ changed: true, etag: '"1"', sources: { ok: true } })
  expect(await get('"1"')).toEqual({ changed: false })
  expect(conditions).toEqual([undefined, '"1"'])
})

test('an archive with another digest than the one asked for is refused with both', async () => {
  const wanted = '0'.repeat(64)
  const found = createHash('sha256').update(body).digest('hex')
  expect(await get(undefined, wanted)).toMatchObject({
    sources: { ok: false, message: expect.stringContaining(found) },
  })
  expect(await get(undefined, found)).toMatchObject({ sources: { ok: true } })
})

test.each<readonly [what: string, change: () => void, message: RegExp]>([
  ['a link in it', () => (body = archive({ 'a.rego': RULE }, 'b.rego')), /not a plain file/],
  ['no gzip', () => (body = Buffer.from('hello')), /not gzip/],
])('%s: refused', async (_what, change, message) => {
  change()
  expect(await get()).toMatchObject({ sources: { ok: false, message: expect.stringMatching(message) } })
})

test('a page instead of an archive is no answer', async () => {
  type = 'text/html'
  await expect(get()).rejects.toThrow('content type')
})
