import { describe, expect, test } from 'vitest'
import { question } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'

const arena = await openArena()
const token = tokenOf({})
const value = Buffer.from(`Bearer ${token}`)
const named = (...names: readonly string[]) => ({
  ...question(),
  headers: names.map((name) => ({ name, value })),
})

const IMITATIONS = [
  'authorization ',
  ' authorization',
  'authorization\t',
  'authorization\r',
  'authorization\n',
  '\r\nauthorization',
  'authorization:',
  ':authorization',
  'authorization_',
  '_authorization',
  'auth_orization',
  'author-ization',
  'authorization\0',
  'authorization\u00a0',
  'a.uthorization',
  'AUTHORIZATION ',
  'authorization\u200b',
  'Authori\u0307zation',
  'authorization;',
  'author\r\n ization',
  'authorization%20',
  'authorization-',
]
const ORDINARY = [
  'x-authorization',
  'proxy-authorization',
  'authorization-info',
  'authorizations',
  'www-authenticate',
  'cookie',
  'x-auth',
  'autorization',
]

describe('attack 83: a header name that some component takes for Authorization', () => {
  test.each(IMITATIONS)(
    '%j is refused as auth_malformed, alone and on either side of a good line',
    async (name) => {
      expect(await arena.pipeline.reason(named(name))).toBe('auth_malformed')
      expect(await arena.pipeline.reason(named('authorization', name))).toBe('auth_malformed')
      expect(await arena.pipeline.reason(named(name, 'authorization'))).toBe('auth_malformed')
    },
  )

  test.each(ORDINARY)('%s beside a good line is allowed, and alone presents nothing', async (name) => {
    expect(await arena.pipeline.reason(named('authorization', name))).toBe('allow')
    expect(await arena.pipeline.reason(named(name))).toBe('token_missing')
  })

  test.each(['authorization', 'Authorization', 'AUTHORIZATION', 'aUtHoRiZaTiOn'])(
    '%s is the header',
    async (name) => {
      expect(await arena.pipeline.reason(named(name))).toBe('allow')
    },
  )

  test.each([
    ['a second line inside the value', `Bearer ${token}\r\nAuthorization: Bearer x`],
    ['a folded line inside the value', `Bearer ${token}\r\n Bearer x`],
    ['another header inside the value', `Bearer ${token}\nX-Role: admin`],
    ['a NUL inside the value', `Bearer ${token}\0`],
  ])('%s is refused', async (_, text) => {
    expect(await arena.pipeline.reason(question({ authorization: [text] }))).toBe('b64_invalid')
  })

  test('sixty-five headers are refused before any of them is read', async () => {
    const headers = Array.from({ length: 64 }, () => ({ name: 'x', value: Buffer.from('y') }))
    expect(
      await arena.pipeline.reason({ ...question(), headers: [...headers, { name: 'authorization', value }] }),
    ).toBe('request_invalid')
    expect(
      await arena.pipeline.reason({
        ...question(),
        headers: [...headers.slice(1), { name: 'authorization', value }],
      }),
    ).toBe('allow')
  })
})
