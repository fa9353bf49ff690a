import { describe, expect, test } from 'vitest'
import { CheckRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { denied } from '../../sidecar/decision.ts'
import { decodeRequest } from '../../sidecar/serve/codec.ts'
import { type Asked, question } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'

const arena = await openArena()
const token = tokenOf({})

// Bytes with a member called __proto__, which no object literal can be made to send.
function asking(asked: Asked): Buffer {
  const bytes = Buffer.from(CheckRequest.encode(question({ token, ...asked })).finish())
  return Buffer.from(bytes.toString('latin1').replaceAll('__prot0__', '__proto__'), 'latin1')
}
const reason = (asked: Asked) => arena.pipeline.reason(CheckRequest.decode(asking(asked)))
const refund = (request: Asked['request'] = {}): Asked => ({ action: 'invoice:refund', request })
const read = (attributes: object): Asked => ({
  stored: { owner: 'bob', attributes: { visibility: null, ...attributes } },
})

describe('a member called __proto__ in what is sent or stored', () => {
  test.each([
    ['an object', { __prot0__: { amount: 10 } }],
    ['an object one level down', { a: { __prot0__: { amount: 10 } } }],
    ['the inside of a wire message', { __prot0__: { fields: { amount: 10 } } }],
    ['a list', { __prot0__: [10] }],
    ['nothing', { __prot0__: null }],
    ['text', { __prot0__: 'amount' }],
  ])('%s in what was sent stands for no other member', async (_, request) => {
    expect(await reason(refund(request))).toBe('limit_exceeded')
    expect(await reason(refund({ ...request, amount: 10 }))).toBe('allow')
    expect(({} as Record<string, unknown>)['amount']).toBeUndefined()
  })

  test('in stored attributes it stands for no other member', async () => {
    expect(await reason(read({ __prot0__: { visibility: 'tenant' } }))).toBe('not_owner')
    expect(await reason(read({ visibility: 'tenant' }))).toBe('allow')
  })

  test('it does not get around the limits of a question', () => {
    const deep = Array.from({ length: 200 }).reduce<unknown>((inner) => ({ __prot0__: inner }), 1)
    const request = decodeRequest(asking({ request: { x: deep } }))
    expect(denied(request) ? request.reason : JSON.stringify(request.sent).length < 100).toBe(
      'request_invalid',
    )
  })
})
