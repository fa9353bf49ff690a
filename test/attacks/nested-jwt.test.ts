import { CompactEncrypt } from 'jose'
import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses, spellings, tokenOf } from './arena.ts'

const arena = await openArena()
const genuine = tokenOf({})
const encrypt = (header: { readonly cty?: string; readonly typ?: string }) =>
  new CompactEncrypt(Buffer.from(genuine))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid: 'rs256-1', ...header })
    .encrypt(signingKey().publicKey)
const encrypted = await encrypt({ cty: 'JWT', typ: 'at+jwt' })
const bare = await encrypt({})
const direct = await new CompactEncrypt(Buffer.from('{"sub":"root"}'))
  .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', typ: 'at+jwt' })
  .encrypt(Buffer.alloc(32))

describe('attack 40: J10, A5: a token inside a token', () => {
  refuses(arena, [
    ['a genuine token, encrypted', encrypted, 'jwe_unsupported'],
    ['an encrypted token without cty', bare, 'jwe_unsupported'],
    ['encrypted claims that nobody signed (CVE-2023-51774)', direct, 'jwe_unsupported'],
    ['the JWE without its tag', direct.split('.').slice(0, 4).join('.'), 'token_format'],
    ['a signed token with cty JWT', { header: { cty: 'JWT' }, payloadText: genuine }, 'header_forbidden'],
    ['a signed token whose content is a token', { payloadText: genuine }, 'json_invalid'],
    [
      'a signed token whose content is a token in quotes',
      { payloadText: JSON.stringify(genuine) },
      'json_invalid',
    ],
  ])
  refuses(
    arena,
    spellings(['JWT', 'jwt', 'application/jwt', '', 'json', null, 1], (cty) => [
      `cty ${JSON.stringify(cty)}`,
      { header: { cty } },
      'header_forbidden',
    ]),
  )
  refuses(
    arena,
    spellings(['enc', 'epk', 'apu', 'apv', 'iv', 'tag'], (name) => [
      `a signed token with the JWE member ${name}`,
      { header: { [name]: 'A256GCM' } },
      'jwe_unsupported',
    ]),
  )
  admits(arena, [
    ['the token itself', genuine],
    ['a token among the claims', { claims: { inner: genuine, cty: 'JWT' } }],
  ])
})
