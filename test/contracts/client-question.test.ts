import { expect, test } from 'vitest'
import { type AuthorizerClient, createAuthorizerClient, type Decision } from '../../contracts/client.ts'
import { allow, openSidecar, QUESTION } from './scripted-sidecar.ts'

const PATIENT_MS = 20_000

test.each<[string, object]>([
  ['headers', { headers: 'authorization: Bearer secret-token' }],
  ['headers[].value', { headers: [{ name: 'authorization', value: 'secret-token €' }] }],
  ['headers[].name', { headers: [{ name: 7, value: 'secret-token' }] }],
  ['method', { method: undefined }],
  ['url', { url: '\ud800' }],
  ['action', { action: 7 }],
  ['peerCertificate', { peerCertificate: 'secret-token' }],
  ['resource.stored.tenant', { resource: { stored: { type: 'a', id: '1', tenant: '\udfff' } } }],
  [
    'resource.stored.attributes.at',
    { resource: { stored: { type: 'a', id: '1', attributes: { at: new Date(0) } } } },
  ],
  [
    'resource.stored.attributes.m',
    { resource: { stored: { type: 'a', id: '1', attributes: { m: new Map() } } } },
  ],
  ['resource.request.n', { resource: { request: { n: Number.NaN } } }],
  ['resource.request.f', { resource: { request: { f: () => 1 } } }],
  ['resource.request.b', { resource: { request: { b: 1n } } }],
  ['resource.request.__proto__', { resource: { request: JSON.parse('{"__proto__":{"admin":true}}') } }],
  ['resource.request.…', { resource: { request: { 'secret-token': Symbol('x') } } }],
  ['larger than 65536 bytes', { url: 'x'.repeat(70_000) }],
])('a question that cannot be sent is a denial that names it: %s', async (place, part) => {
  await using sidecar = await openSidecar(allow)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const decision = await unchecked(client)({ ...QUESTION, ...part })
  expect(decision).toMatchObject({
    kind: 'deny',
    cause: 'client_fault',
    diagnostic: { reason: 'request_invalid' },
  })
  expect(JSON.stringify(decision)).toContain(place)
  expect(JSON.stringify(decision)).not.toContain('secret-token')
  expect(sidecar.questions).toEqual([])
})

test('facts that are cyclic, throwing or no object at all deny and never throw', async () => {
  await using sidecar = await openSidecar(allow)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const cycle: Record<string, unknown> = {}
  cycle['self'] = cycle
  const trap = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('secret-token')
      },
    },
  )
  const calls = [
    [{ ...QUESTION, resource: { request: cycle } }],
    [{ ...QUESTION, resource: { request: trap } }],
    [{ ...QUESTION, resource: { request: { list: new Array(1_000_000).fill(0) } } }],
    [undefined],
    [null],
    [7],
    [{}],
    [QUESTION, null],
    [QUESTION, { deadlineMs: 0 }],
    [QUESTION, { deadlineMs: Number.NaN }],
    [QUESTION, { signal: 'x' }],
  ]
  for (const args of calls) {
    const decision = await unchecked(client)(...args)
    expect(decision).toMatchObject({ kind: 'deny', cause: 'client_fault' })
    expect(JSON.stringify(decision)).not.toContain('secret-token')
  }
  expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
})

/** `check` as plain JavaScript sees it. */
function unchecked(client: AuthorizerClient): (...args: unknown[]) => Promise<Decision> {
  return (...args) => Reflect.apply(client.check, client, args)
}
