import { describe, expect, test } from 'vitest'
import { denied, statusOf } from '../../sidecar/decision.ts'
import { question } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'

const arena = await openArena()
const token = tokenOf({})

const QUERIES = [
  '?access_token=x',
  '?a=1&access_token=x',
  '?access_token',
  '?access_token=',
  '?ACCESS_TOKEN=x',
  '?Access_Token=x',
  '?access%5Ftoken=x',
  '?access%5ftoken=x',
  '?%61ccess_token=x',
  '?%61%63%63%65%73%73%5f%74%6f%6b%65%6e=x',
  '?a=1;access_token=x',
  '?a?access_token=x',
  '?+access_token=x',
  '?access_token+=x',
  '?%20access_token=x',
  '?access_token%20=x',
  '#access_token=x',
  '?a#access_token=x',
  '?&&access_token=x',
  '?a=%&access_token=x',
  '?access_token=x&access_token=y',
  '?access_token%09=x',
]
const HARMLESS = [
  '',
  '?',
  '?a=1',
  '?q=access_token',
  '?token_type=bearer',
  '?my_access_token_id=1',
  '?access_tokens=1',
  '?page_token=abc',
  '?a=%zz',
  '?a=b%26access_token%3Dx',
  '/access_token=x',
  '?a=%F0%9F%98%80',
]
const SPELT: readonly (readonly [name: string, value: string])[] = [
  ['the scheme twice', `Bearer Bearer ${token}`],
  ['the scheme twice in lower case', `bearer bearer ${token}`],
  ['two blanks', `Bearer  ${token}`],
  ['a tab', `Bearer\t${token}`],
  ['a blank and a tab', `Bearer \t${token}`],
  ['a blank first', ` Bearer ${token}`],
  ['a tab first', `\tBearer ${token}`],
  ['no blank', `Bearer${token.replaceAll('.', ':')}`],
  ['a colon', `Bearer: ${token}`],
  ['an equals sign', `Bearer=${token}`],
  ['a scheme and nothing', 'Bearer'],
  ['a scheme and a blank', 'Bearer '],
  ['a newline', `Bearer\n${token}`],
  ['a folded line', `Bearer\r\n ${token}`],
  ['a no-break space', `Bearer\u00a0${token}`],
  ['nothing at all', ''],
  ['a blank', ' '],
]
const OTHERS = [
  'Basic YTpi',
  'Digest username="a"',
  'Negotiate abc',
  'Token abc',
  'Bearerx abc',
  'JWT abc',
  `Token ${token}`,
  token,
]

describe('attack 82: O1, Z1, 004-12, P11: a token in another place or spelling', () => {
  test.each(QUERIES)(
    'the target /x%s is refused as token_in_query with 400, with a good token beside it',
    async (query) => {
      const { decision } = await arena.pipeline.ask(
        question({ token, url: `/x${query.replace('=x', `=${token}`)}` }),
      )
      expect(decision).toMatchObject({ reason: 'token_in_query' })
      expect(denied(decision) && statusOf(decision)).toBe(400)
      expect(await arena.pipeline.reason(question({ url: `/x${query}` }))).toBe('token_in_query')
    },
  )

  test.each(HARMLESS)('the target /x%s is none of our business', async (query) => {
    expect(await arena.verdict(token, { url: `/x${query}` })).toBe('allow')
  })

  test.each(SPELT)('%s in the header is refused as auth_malformed with 400', async (_, value) => {
    const { decision } = await arena.pipeline.ask(question({ authorization: [value] }))
    expect(decision).toMatchObject({ reason: 'auth_malformed' })
    expect(denied(decision) && statusOf(decision)).toBe(400)
  })

  test.each(OTHERS)('%s presents no token', async (value) => {
    expect(await arena.pipeline.reason(question({ authorization: [value] }))).toBe('token_missing')
  })

  test.each(['Bearer', 'bearer', 'BEARER', 'bEaReR'])('the scheme %s is allowed', async (scheme) => {
    expect(await arena.pipeline.reason(question({ authorization: [`${scheme} ${token}`] }))).toBe('allow')
  })

  test.each([
    'cookie',
    'x-access-token',
    'x-authorization',
    'proxy-authorization',
    'x-forwarded-authorization',
    'sec-websocket-protocol',
  ])('a token in the header %s is not looked at', async (name) => {
    const value = Buffer.from(name === 'cookie' ? `access_token=${token}` : `Bearer ${token}`)
    expect(await arena.pipeline.reason({ ...question(), headers: [{ name, value }] })).toBe('token_missing')
  })

  test('a token in what the caller sent is not looked at', async () => {
    expect(await arena.pipeline.reason(question({ request: { access_token: token } }))).toBe('token_missing')
  })
})
