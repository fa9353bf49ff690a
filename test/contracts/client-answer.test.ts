import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readAnswer } from '../../contracts/client/answer.ts'
import { type Decision, isAllowance } from '../../contracts/client.ts'
import { CheckResponse, Denial, Principal } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { allowing, allowingWith, denying, encode, PRINCIPAL } from './scripted-sidecar.ts'

const COMPLETE = encode(allowing())
const REFUSED = encode(denying())

/** One length-delimited field. */
function field(number: number, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from([(number << 3) | 2, bytes.length, ...bytes])
}
function bytes(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}
const allowanceOf = (principal: Partial<typeof PRINCIPAL>): Uint8Array =>
  field(1, field(1, Principal.encode({ ...PRINCIPAL, ...principal }).finish()))
const IDS = bytes(field(10, Buffer.from('d-1')), field(11, Buffer.from('r-1')))

describe('what is no complete permission is a denial: invalid_answer', () => {
  test.each<[string, Uint8Array]>([
    ['nothing at all', bytes()],
    ['no outcome', encode({ ...allowing(), outcome: undefined })],
    ['an outcome of a kind this client does not know', bytes(field(3, field(1, Buffer.from('yes'))), IDS)],
    ['an allowance without principal', bytes(field(1, bytes()), IDS)],
    ['an allowance with an empty principal', bytes(field(1, field(1, bytes())), IDS)],
    ['an allowance without subject', bytes(allowanceOf({ subject: '' }), IDS)],
    ['an allowance without issuer', bytes(allowanceOf({ issuer: '' }), IDS)],
    ['an allowance without decision id', encode({ ...allowing(), decisionId: '' })],
    ['an allowance without policy revision', encode({ ...allowing(), policyRevision: '' })],
    ['a denial followed by an allowance', bytes(REFUSED, COMPLETE)],
    ['an allowance followed by a denial', bytes(COMPLETE, REFUSED)],
    ['a denial inserted before the ids', bytes(field(2, bytes()), COMPLETE)],
    ['two allowances', bytes(allowanceOf({ subject: 'bob' }), COMPLETE)],
    [
      'an allowance whose line would start another',
      encode(allowingWith([header('dpop-nonce', 'a\r\nset-cookie: b')])),
    ],
    ['an allowance that sets a cookie', encode(allowingWith([header('set-cookie', 'a=b')]))],
    ['an allowance with a line that has no name', encode(allowingWith([header('', 'a')]))],
    ['two principals in one allowance', bytes(field(1, bytes(field(1, bytes()), field(1, bytes()))), IDS)],
    ['two decision ids', bytes(COMPLETE, field(10, Buffer.from('d-9')))],
    ['a zero tag after a complete permission', bytes(COMPLETE, [0])],
    [
      'a zero tag inside the allowance',
      bytes(field(1, bytes(field(1, Principal.encode(PRINCIPAL).finish()), [0])), IDS),
    ],
    ['a group', bytes(COMPLETE, [0x2b, 0x2c])],
    ['an end of group', bytes(COMPLETE, [0x0c])],
    ['an allowance of the wrong wire type', bytes([0x08, 0x01], IDS)],
    ['an allowance that is fixed32', bytes([0x0d, 1, 1, 1, 1], IDS)],
    ['a permission cut short', COMPLETE.subarray(0, COMPLETE.length - 1)],
    ['a length that reaches past its parent', bytes([0x0a, 0x02, 0x0a, 0x7f], COMPLETE)],
    [
      'a field that reaches past its message into the next',
      bytes(field(1, bytes(field(1, Principal.encode(PRINCIPAL).finish()), [0x12, 4])), [0x1a, 2, 0, 0], IDS),
    ],
    ['a length beyond the end', bytes(COMPLETE, [0x6a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
    ['an endless varint', bytes(COMPLETE, [0x60, ...new Array<number>(16).fill(0xff)])],
    [
      'a generation above what a number holds',
      bytes(encode({ ...allowing(), trustGeneration: 0 }), [0x60, ...new Array<number>(9).fill(0xff), 0x01]),
    ],
    ['JSON', Buffer.from('{"allow":true}')],
    ['HTTP', Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
    [
      'a denial without client part',
      encode({
        ...denying(),
        outcome: { $case: 'deny', deny: { client: undefined, diagnostic: undefined } },
      }),
    ],
    ['a denial of status 200', encode(denying(200))],
    ['a denial of status 302', encode(denying(302))],
    ['a denial of gRPC status OK', withClient({ grpcStatus: 0 })],
    [
      'a denial that splits the response',
      withClient({ headers: [header('WWW-Authenticate', 'a\r\nSet-Cookie: a=b')] }),
    ],
    ['a denial with a header name that is none', withClient({ headers: [header('a b', 'c')] })],
    ['a denial that frames the response', withClient({ headers: [header('Transfer-Encoding', 'chunked')] })],
    ['a denial that sets a cookie', withClient({ headers: [header('Set-Cookie', 'a=b')] })],
  ])('%s', (_name, answer) => {
    expect(readAnswer(answer)).toMatchObject({
      kind: 'deny',
      cause: 'invalid_answer',
      client: { status: 503 },
    })
  })
})

test('fields of a newer contract are skipped', () => {
  const newer = bytes(
    COMPLETE,
    field(13, Buffer.from('new')),
    [0x70, 0x01],
    [0x7d, 1, 2, 3, 4],
    [0x79, 1, 2, 3, 4, 5, 6, 7, 8],
  )
  expect(readAnswer(newer)).toEqual(readAnswer(COMPLETE))
})

test('a reason newer than this client is still the denial it came with', () => {
  const known = Denial.encode({ client: clientPart({}), diagnostic: undefined }).finish()
  const answer = bytes(field(2, bytes(known, field(2, Uint8Array.of(0x08, 0xe7, 0x07)))), IDS)
  expect(readAnswer(answer)).toMatchObject({
    kind: 'deny',
    cause: 'sidecar',
    client: { status: 403 },
    diagnostic: { reason: 'unknown' },
  })
})

test('the order of fields does not matter', () => {
  expect(isAllowance(readAnswer(bytes(IDS, allowanceOf({}))))).toBe(true)
})

/** An independent reading of the contract, over what the generated codec sees. */
function permits(answer: Uint8Array): boolean {
  try {
    const { outcome, decisionId, policyRevision } = CheckResponse.decode(answer)
    const principal = outcome?.$case === 'allow' ? outcome.allow.principal : undefined
    return Boolean(principal?.issuer && principal.subject && decisionId && policyRevision)
  } catch {
    return false
  }
}

function consistent(decision: Decision, answer: Uint8Array): boolean {
  return decision.kind === 'deny' ? !isAllowance(decision) : isAllowance(decision) && permits(answer)
}

describe('properties', () => {
  test('random bytes never permit', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (answer) => readAnswer(answer).kind === 'deny'),
      { numRuns: 5000 },
    )
  })

  test('a damaged permission permits only if all its parts are still there', () => {
    const damage = fc.array(fc.tuple(fc.nat(COMPLETE.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 4,
    })
    const property = fc.property(damage, (spots) => {
      const damaged = Uint8Array.from(COMPLETE)
      for (const [index, value] of spots) damaged[index] = value
      return consistent(readAnswer(damaged), damaged)
    })
    fc.assert(property, { numRuns: 20_000 })
  })

  test('a permission cut, spliced or repeated permits only if all its parts are still there, once', () => {
    const cut = fc.tuple(fc.constantFrom(COMPLETE, REFUSED), fc.nat(COMPLETE.length), fc.nat(COMPLETE.length))
    const property = fc.property(fc.array(cut, { minLength: 1, maxLength: 4 }), (cuts) => {
      const spliced = bytes(
        ...cuts.map(([source, from, to]) => source.subarray(Math.min(from, to), Math.max(from, to))),
      )
      return consistent(readAnswer(spliced), spliced)
    })
    fc.assert(property, { numRuns: 20_000 })
  })

  test('a CheckResponse permits exactly when it is complete', () => {
    const text = fc.constantFrom('', 'x', 'é')
    const principal = fc.option(fc.record({ issuer: text, subject: text, tenant: text }), { nil: undefined })
    const property = fc.property(
      fc.constantFrom('allow', 'deny', 'unset'),
      principal,
      text,
      text,
      (kind, who, id, revision) => {
        const allow = {
          principal: who === undefined ? undefined : { ...PRINCIPAL, ...who },
          ruleIds: [],
          headers: [],
        }
        const outcome =
          kind === 'allow'
            ? { $case: 'allow' as const, allow }
            : kind === 'deny'
              ? denying().outcome
              : undefined
        const answer = encode({ outcome, decisionId: id, policyRevision: revision, trustGeneration: 0 })
        const complete = kind === 'allow' && Boolean(who?.issuer && who.subject && id && revision)
        return isAllowance(readAnswer(answer)) === complete
      },
    )
    fc.assert(property, { numRuns: 2000 })
  })
})

function header(name: string, value: string): { name: string; value: Buffer } {
  return { name, value: Buffer.from(value) }
}
function clientPart(part: object): {
  status: number
  headers: { name: string; value: Buffer }[]
  text: string
  grpcStatus: number
} {
  return { status: 403, headers: [], text: 'Forbidden', grpcStatus: 7, ...part }
}
function withClient(part: object): Uint8Array {
  return encode({
    ...denying(),
    outcome: { $case: 'deny', deny: { client: clientPart(part), diagnostic: undefined } },
  })
}
