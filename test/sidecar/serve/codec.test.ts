// A question off the wire: inside every limit, on it, one beyond; and an answer that nobody can forge.
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import {
  CheckResponse,
  CheckRequest as Message,
} from '../../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Outcome } from '../../../sidecar/decide.ts'
import {
  type Decision,
  denied,
  deny,
  denyByRules,
  denyRequest,
  MEANING,
  type Reason,
} from '../../../sidecar/decision.ts'
import { decodeRequest, encodeResponse, REQUEST_LIMITS, readRequest } from '../../../sidecar/serve/codec.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { openPipeline } from '../../fixtures/pipeline.ts'
import { question, verdictOf } from '../../fixtures/question.ts'
import { forge } from '../../fixtures/tokens.ts'

type Facts = NonNullable<NonNullable<Message['resource']>['stored']>

function asked(change: Partial<Message>): string {
  const outcome = decodeRequest(Message.encode({ ...question({ token: 'abc' }), ...change }).finish())
  return denied(outcome) ? outcome.detail : 'taken'
}

function stored(change: Partial<Facts>): Partial<Message> {
  const facts = { type: 'invoice', id: '1', tenant: 'acme', owner: 'alice', attributes: {}, ...change }
  return { resource: { stored: facts, request: {} } }
}

const sent = (request: Facts['attributes']): Partial<Message> => ({
  resource: { stored: undefined, request },
})
const attributes = (value: Facts['attributes']): Partial<Message> => stored({ attributes: value })
const lines = (count: number) => Array.from({ length: count }, () => ({ name: 'x', value: Buffer.from('y') }))
const line = (name: number, value: number) => [{ name: 'n'.repeat(name), value: Buffer.alloc(value, 'v') }]
const list = (count: number) => ({ items: Array.from({ length: count - 1 }, (_, index) => index) })

function nested(depth: number): { [name: string]: unknown } {
  return depth === 1 ? { leaf: 1 } : { child: nested(depth - 1) }
}

const RESOURCE = 5
const SENT = 2
const HEADER_SIZE = 'headers: a name longer than 256 bytes or a value longer than 16 KiB'
const DEEP = 'nested deeper than 16; flatten it'
const MANY = 'more than 512 values; send only what rules read'
const METHOD = 'method: required, the method of the original request, such as GET'
const URL_NEEDED = 'url: required, the target of the original request, at most 8 KiB'
const ACTION = 'action: required, 1 to 128 characters such as invoice:read'

test.each<readonly [what: string, change: Partial<Message>, want: string]>([
  ['nothing unusual', {}, 'taken'],
  ['no method', { method: '' }, METHOD],
  ['a method of 32 letters', { method: 'M'.repeat(32) }, 'taken'],
  ['a method of 33 letters', { method: 'M'.repeat(33) }, METHOD],
  ['a method with a blank', { method: 'GET /' }, METHOD],
  ['a method with a line break', { method: 'GET\r\n' }, METHOD],
  ['no URL', { url: '' }, URL_NEEDED],
  ['a URL of 8192 characters', { url: '/'.repeat(8192) }, 'taken'],
  ['a URL of 8193 characters', { url: '/'.repeat(8193) }, URL_NEEDED],
  ['no action', { action: '' }, ACTION],
  ['an action of 128 characters', { action: 'a'.repeat(128) }, 'taken'],
  ['an action of 129 characters', { action: 'a'.repeat(129) }, ACTION],
  ['an action with a blank', { action: 'invoice read' }, ACTION],
  ['an action with a quote', { action: 'invoice"read' }, ACTION],
  ['an action with a backslash', { action: 'invoice\\read' }, ACTION],
  ['an action with a line break', { action: 'a\nb' }, ACTION],
  ['an action beyond ASCII', { action: 'é' }, ACTION],
  ['no headers', { headers: [] }, 'taken'],
  ['64 headers', { headers: lines(64) }, 'taken'],
  ['65 headers', { headers: lines(65) }, 'headers: more than 64; send the credential headers only'],
  ['a header name of 256', { headers: line(256, 1) }, 'taken'],
  ['a header name of 257', { headers: line(257, 1) }, HEADER_SIZE],
  ['a header value of 16384', { headers: line(1, 16_384) }, 'taken'],
  ['a header value of 16385', { headers: line(1, 16_385) }, HEADER_SIZE],
  ['a certificate of 8192', { peerCertificate: Buffer.alloc(8192) }, 'taken'],
  ['a certificate of 8193', { peerCertificate: Buffer.alloc(8193) }, 'peer_certificate: larger than 8 KiB'],
  ['no resource', { resource: undefined }, 'taken'],
  ['a type of 128', stored({ type: 't'.repeat(128) }), 'taken'],
  ['a type of 129', stored({ type: 't'.repeat(129) }), 'resource.stored.type: longer than 128 characters'],
  ['an id of 256', stored({ id: 'i'.repeat(256) }), 'taken'],
  ['an id of 257', stored({ id: 'i'.repeat(257) }), 'resource.stored.id: longer than 256 characters'],
  [
    'a tenant of 257',
    stored({ tenant: 't'.repeat(257) }),
    'resource.stored.tenant: longer than 256 characters',
  ],
  [
    'an owner of 257',
    stored({ owner: 'o'.repeat(257) }),
    'resource.stored.owner: longer than 256 characters',
  ],
  [
    'a tenant with a replacement character',
    stored({ tenant: 'ac\ufffdme' }),
    'resource.stored.tenant: not well-formed UTF-8',
  ],
  ['16 levels of stored attributes', attributes(nested(16)), 'taken'],
  ['17 levels of stored attributes', attributes(nested(17)), `resource.stored.attributes: ${DEEP}`],
  ['16 levels of what was sent', sent(nested(16)), 'taken'],
  ['17 levels of what was sent', sent(nested(17)), `resource.request: ${DEEP}`],
  ['512 stored values', attributes(list(512)), 'taken'],
  ['513 stored values', attributes(list(513)), `resource.stored.attributes: ${MANY}`],
  ['512 sent values', sent(list(512)), 'taken'],
  ['513 sent values', sent(list(513)), `resource.request: ${MANY}`],
  ['infinity', sent({ amount: Number.POSITIVE_INFINITY }), 'resource.request: a number that is not finite'],
  ['no number', attributes({ a: [Number.NaN] }), 'resource.stored.attributes: a number that is not finite'],
])('a question with %s: %s', (_what, change, want) => {
  expect(asked(change)).toBe(want)
})

test('what was taken is what was asked, with header names in lower case and values untouched', () => {
  const value = Buffer.from([0, 255, 10])
  const taken = decodeRequest(
    Message.encode({ ...question({}), headers: [{ name: 'AuthoriZation', value }], timeoutMs: 7 }).finish(),
  )
  expect(taken).toMatchObject({
    headers: [{ name: 'authorization', value }],
    method: 'GET',
    action: 'invoice:read',
    stored: { type: 'invoice', tenant: 'acme', owner: 'alice', attributes: { amount: 120 } },
    sent: {},
    peerCertificate: undefined,
    timeoutMs: 7,
  })
})

test('what the wire leaves out is empty', () => {
  const taken = readRequest({ ...question({}), resource: undefined })
  expect(taken).toMatchObject({
    stored: { type: '', id: '', tenant: '', owner: '', attributes: {} },
    sent: {},
  })
})

test('__proto__ in attributes changes no prototype and grants no attribute', () => {
  const bytes = Buffer.from(
    Message.encode({ ...question({}), ...attributes({ xxxxxxxxx: { visibility: 'tenant' } }) }).finish(),
  )
  bytes.write('__proto__', bytes.indexOf('xxxxxxxxx'))
  const taken = decodeRequest(bytes)
  if (denied(taken)) return expect(taken.reason).toBe('request_invalid')
  expect(taken.stored.attributes['visibility']).toBeUndefined()
  expect(Object.getPrototypeOf(taken.stored.attributes)).toBe(Object.prototype)
  expect(Object.keys(Object.prototype)).toEqual([])
})

test('a tenant that is not UTF-8 is refused: two names must not become one', () => {
  const bytes = Buffer.from(Message.encode({ ...question({}), ...stored({ tenant: 'acXXme' }) }).finish())
  bytes.set([0xff, 0xfe], bytes.indexOf('acXXme') + 2)
  const outcome = decodeRequest(bytes)
  expect(denied(outcome) && outcome.detail).toBe('resource.stored.tenant: not well-formed UTF-8')
})

const UNDECODABLE =
  'the bytes are not a portcullis.authorizer.v1.CheckRequest; regenerate the client from the proto'

test.each<readonly [what: string, bytes: Buffer]>([
  ['a cut-off varint', Buffer.from([0x80])],
  ['a length beyond the end', Buffer.from([0x0a, 0x7f])],
  ['a wire type that does not exist', Buffer.from([0x0f])],
  ['the text of a request', Buffer.from('GET / HTTP/1.1\r\n')],
  ['255 bytes of ones', Buffer.alloc(255, 0xff)],
])('%s is not a question', (_what, bytes) => {
  expect(decodeRequest(bytes)).toEqual(denyRequest(UNDECODABLE))
})

test('no bytes are the empty question, which lacks a method', () => {
  expect(decodeRequest(Buffer.alloc(0))).toEqual(denyRequest(METHOD))
})

test('whatever the bytes, decoding never throws and never repeats them in its answer', () => {
  const good = Buffer.from(Message.encode(question({ token: 'canary-token' })).finish())
  const bent = fc
    .tuple(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length))
    .map(([at, byte, length]) => {
      const copy = Buffer.from(good)
      copy[at] = byte
      return copy.subarray(0, length)
    })
  const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), bent)
  fc.assert(
    fc.property(anything, (bytes) => {
      const outcome = decodeRequest(bytes)
      if (denied(outcome))
        expect(outcome).toMatchObject({
          reason: 'request_invalid',
          detail: expect.not.stringContaining('canary'),
        })
    }),
    { seed: 7, numRuns: 3_000 },
  )
})

test.each([100, 1_000, 5_000])(
  'lists nested %i deep on the wire are refused and overflow nothing',
  (levels) => {
    let value: Buffer = Buffer.from([0x20, 0x01])
    for (let i = 0; i < levels; i++) value = field(6, field(1, value))
    const struct = field(1, Buffer.concat([field(1, Buffer.from('a')), field(2, value)]))
    const bytes = Buffer.concat([
      Message.encode({ ...question({}), resource: undefined }).finish(),
      field(RESOURCE, field(SENT, struct)),
    ])
    expect(decodeRequest(bytes)).toMatchObject({ kind: 'deny', reason: 'request_invalid' })
  },
)

test('fields that we do not know are ignored: a newer client may ask us', () => {
  const bytes = Message.encode(question({})).finish()
  expect(
    denied(decodeRequest(Buffer.concat([bytes, Buffer.from([0xfa, 0x3e, 3, 1, 2, 3, 0xf8, 0x3f, 42])]))),
  ).toBe(false)
})

function answer(decision: Decision, more: Partial<Outcome> = {}): CheckResponse {
  return CheckResponse.decode(
    encodeResponse({ decision, principal: undefined, trust: undefined, ...more }, 'id-1', 'invoice:read'),
  )
}

let genuine: Outcome
beforeAll(async () => {
  const key = signingKey()
  const pipeline = await openPipeline({ issuers: [{ keys: [key] }] })
  genuine = await pipeline.ask(question({ token: forge({ key }) }))
})

test('a genuine allowance goes out as one, with principal, rules, revision and generation', () => {
  const { outcome, policyRevision, trustGeneration, decisionId } = answer(genuine.decision, genuine)
  expect(outcome).toMatchObject({
    $case: 'allow',
    allow: {
      principal: { subject: 'alice', tenant: 'acme', clientId: 'test-web' },
      ruleIds: ['invoice.read.owner'],
    },
  })
  expect({ policyRevision, trustGeneration, decisionId }).toEqual({
    policyRevision: genuine.trust?.policy.revision,
    trustGeneration: 1,
    decisionId: 'id-1',
  })
})

test('whatever is no genuine allowance goes out as a denial', () => {
  const { decision } = genuine
  if (denied(decision)) throw new Error(decision.reason)
  const forged: readonly Decision[] = [
    { kind: 'allow', principal: decision.principal, ruleIds: ['x'] },
    { ...decision },
    Object.create(decision),
    new Proxy(decision, {}),
  ]
  for (const one of forged) expect(verdictOf(answer(one))).toBe('internal')
})

test.each(Object.keys(MEANING) as Reason[])('%s goes out under its own number, and as a denial', (reason) => {
  const { outcome } = answer(deny(reason))
  expect(verdictOf(answer(deny(reason)))).toBe(reason)
  expect(outcome?.$case).toBe('deny')
})

test('what may be forwarded and what may not are told apart', () => {
  const { outcome } = answer(denyByRules('not_owner', ['secret.rule'], true))
  if (outcome?.$case !== 'deny') throw new Error('no denial')
  expect(outcome.deny.client).toEqual({ status: 404, grpcStatus: 5, headers: [], text: 'Not found.' })
  expect(outcome.deny.diagnostic).toMatchObject({ ruleIds: ['secret.rule'] })
  expect(JSON.stringify(outcome.deny.client)).not.toContain('secret')
})

test('the limits are those of the contract', () => {
  expect(REQUEST_LIMITS).toMatchObject({
    headers: 64,
    headerValue: 16_384,
    url: 8_192,
    values: 512,
    depth: 16,
  })
})

/** A length-delimited field of the wire format. */
function field(number: number, content: Buffer): Buffer {
  const length: number[] = []
  for (let rest = content.length; rest > 127; rest >>>= 7) length.push((rest & 127) | 128)
  length.push(content.length >>> (7 * length.length))
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), content])
}
