import { describe } from 'vitest'
import { AUDIENCE, goodClaims, ISSUER, rawObject } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const good = Object.entries(goodClaims(AT_S))
const text = rawObject(good)
const adding = (member: string) => ({ payloadText: `${text.slice(0, -1)},${member}}` })
const leading = (member: string) => ({ payloadText: `{${member},${text.slice(1)}` })

const TWICE = [
  `"aud":"${AUDIENCE}"`,
  '"aud":"https://evil.example"',
  '"sub":"root"',
  '"exp":9999999999',
  '"tenant":"globex"',
  `"iss":"${ISSUER}"`,
  '"scope":"admin"',
  '"roles":["admin"]',
  '"jti":"x"',
  '"iat":1',
  '"\\u0061ud":"x"',
  '"\\u0073ub":"root"',
  '"tenan\\u0074":"globex"',
]
const NESTED = [
  '"cnf":{"jkt":"a","jkt":"b"}',
  '"cnf":{"jkt":"a","\\u006akt":"b"}',
  '"x":[{"a":1},{"a":1,"a":2}]',
  '"x":{"y":{"z":1,"z":1}}',
  '"x":[[[{"":0,"":0}]]]',
  '"x":{"1":0,"1":1}',
  '"x":{"__proto__":1,"__proto__":2}',
]

describe('attack 21: J3: a claim set that says one thing twice', () => {
  refuses(
    arena,
    spellings(TWICE, (member) => [`${member} once more at the end`, adding(member), 'json_duplicate']),
  )
  refuses(
    arena,
    spellings(TWICE, (member) => [`${member} once more at the start`, leading(member), 'json_duplicate']),
  )
  refuses(
    arena,
    spellings(NESTED, (member) => [member, adding(member), 'json_duplicate']),
  )
  refuses(arena, [
    ['a duplicate beside text full of colons', adding('"note":"a:b:{c:d}","sub":"root"'), 'json_duplicate'],
    ['a duplicate beside an escaped quote', adding('"note":"\\":\\"","sub":"root"'), 'json_duplicate'],
    ['a duplicate behind an escaped backslash', adding('"note":"\\\\","sub":"root"'), 'json_duplicate'],
    ['two claim sets in a row', { payloadText: `${text}${text}` }, 'json_invalid'],
  ])
  admits(arena, [
    [
      'text full of colons, braces and quotes',
      { claims: { note: 'a:b:{"sub":"root"}\\"[:]', url: 'https://a:1/?b=:' } },
    ],
    ['text that ends in a backslash', { claims: { note: '\\', other: ':\\' } }],
    ['one name in two objects', { claims: { x: [{ sub: 1 }, { sub: 2 }], y: { sub: { sub: 3 } } } }],
    ['names that differ in case', adding('"SUB":"root","Aud":"x"')],
    ['an empty name, once', adding('"":1')],
    ['empty objects and lists', { claims: { x: {}, y: [], z: [{}, [[]], ''] } }],
  ])
})
