import { describe } from 'vitest'
import { AT_S, admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const UNKNOWN = [
  { kid: 'k' },
  { jwk: { kty: 'EC' } },
  { jku: 'https://x' },
  { jkt: 'a', 'x5t#S256': 'b' },
  { jkt: 'a', kid: 'k' },
  { 'x5t#S256': 'a', kid: 'k' },
  {},
  { JKT: 'a' },
  { 'x5t#s256': 'a' },
  { x5t: 'a' },
  { osc: {} },
  { '': 'a' },
  { ' jkt': 'a' },
  null,
  '',
  'jkt',
  0,
  1,
  true,
  false,
  [],
  ['jkt'],
  [{ jkt: 'a' }],
]

describe('attack 64: a confirmation that we cannot check', () => {
  refuses(
    arena,
    spellings(UNKNOWN, (cnf) => [`cnf ${JSON.stringify(cnf)}`, { claims: { cnf } }, 'cnf_unknown']),
  )
  refuses(arena, [
    ['cnf with only __proto__', { payloadText: withCnf('{"__proto__":{"jkt":"a"}}') }, 'cnf_unknown'],
  ])
  admits(arena, [['no cnf', { claims: { cnf: undefined } }]])
})

function withCnf(cnf: string): string {
  const claims = {
    iss: 'https://idp.test.example',
    aud: 'https://api.test.example',
    sub: 'alice',
    client_id: 'c',
    jti: 'j',
  }
  const rest = { tenant: 'acme', scope: 'invoice:read', iat: AT_S, exp: AT_S + 300 }
  return `${JSON.stringify({ ...claims, ...rest }).slice(0, -1)},"cnf":${cnf}}`
}
