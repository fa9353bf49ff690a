import { describe, expect, test } from 'vitest'
import { CheckRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { denied } from '../../sidecar/decision.ts'
import { decodeRequest } from '../../sidecar/serve/codec.ts'
import { question } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'

const arena = await openArena()
const asked = question({ token: tokenOf({}) })

describe('attack 84: 004-08: a question that does not say which request it is about', () => {
  test.each([
    ['no method', { method: '' }, 'method'],
    ['a method with a blank', { method: 'GET /x' }, 'method'],
    ['a method with a newline', { method: 'GET\n' }, 'method'],
    ['a method of 33 characters', { method: 'G'.repeat(33) }, 'method'],
    ['no target', { url: '' }, 'url'],
    ['a target of more than 8 KiB', { url: `/${'x'.repeat(8192)}` }, 'url'],
    ['no action', { action: '' }, 'action'],
    ['an action with a blank', { action: 'invoice:read invoice:edit' }, 'action'],
    ['an action with a quote', { action: 'invoice:"read"' }, 'action'],
    ['an action of 129 characters', { action: 'a'.repeat(129) }, 'action'],
  ])('%s is refused as request_invalid, and the field is named', async (_, change, field) => {
    const { decision } = await arena.pipeline.ask({ ...asked, ...change })
    expect(decision).toMatchObject({ reason: 'request_invalid', detail: expect.stringMatching(`^${field}`) })
  })

  test('an empty message is refused, and bytes that are no message too', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('garbage'), Buffer.alloc(64, 0xff)]) {
      const request = decodeRequest(bytes)
      expect(denied(request) && request.reason).toBe('request_invalid')
    }
  })

  test.each(['GET', 'POST', 'get', 'M-SEARCH', 'PROPFIND'])(
    'the original method %s is allowed',
    async (method) => {
      expect(await arena.pipeline.reason({ ...asked, method })).toBe('allow')
      expect(denied(decodeRequest(CheckRequest.encode({ ...asked, method }).finish()))).toBe(false)
    },
  )
})
