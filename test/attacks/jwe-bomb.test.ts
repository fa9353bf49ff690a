import { deflateRawSync } from 'node:zlib'
import { describe } from 'vitest'
import { base64url } from '../fixtures/tokens.ts'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const five = (header: Readonly<Record<string, unknown>>, body = Buffer.from('x')) =>
  [JSON.stringify(header), '', 'iviviviviviv', body, 'tagtagtagtagtagt']
    .map((part) => base64url(Buffer.from(part)))
    .join('.')
const zeros = deflateRawSync(Buffer.alloc(1_000_000))
const pbes2 = (p2c: number) => ({ alg: 'PBES2-HS512+A256KW', enc: 'A256GCM', p2s: 'c2FsdHNhbHQ', p2c })

describe('attack 41: J10: encrypted tokens that cost more than they weigh', () => {
  refuses(arena, [
    [
      'a JWE that inflates a thousandfold',
      five({ alg: 'dir', enc: 'A256GCM', zip: 'DEF' }, zeros),
      'jwe_unsupported',
    ],
    ['a JWE that asks for 2,147,483,647 rounds', five(pbes2(2_147_483_647)), 'jwe_unsupported'],
    ['a JWE whose header is no JSON', `e30x.${five({}).split('.').slice(1).join('.')}`, 'jwe_unsupported'],
    ['PBES2 in three segments', { header: pbes2(1_000_000) }, 'jwe_unsupported'],
    ['p2c on a signed token', { header: { p2c: 2_147_483_647 } }, 'jwe_unsupported'],
    ['zip on a signed token', { header: { zip: 'DEF' } }, 'header_forbidden'],
    [
      'deflated claims, signed that way,',
      { header: { zip: 'DEF' }, payloadText: deflateRawSync(Buffer.from('{}')) },
      'header_forbidden',
    ],
    [
      'deflated claims without a word about it',
      { payloadText: deflateRawSync(Buffer.from('{}')) },
      'json_invalid',
    ],
  ])
  admits(arena, [['a claim called zip', { claims: { zip: 'DEF', p2c: 2_147_483_647 } }]])
})
