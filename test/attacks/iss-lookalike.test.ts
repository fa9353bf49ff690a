import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses, spellings } from './arena.ts'

const LONGER = `${ISSUER}/realms/a`
const IDN = 'https://b\u00fccher.example'
const tenant = { $case: 'fixedTenant', fixedTenant: 'acme' } as const
const keys = [signingKey()]
const arena = await openArena({
  issuers: [{ keys }, { issuer: LONGER, keys, tenant }, { issuer: IDN, keys, tenant }],
})

const TEXT = [
  `${ISSUER}/`,
  `${ISSUER}.evil`,
  `${ISSUER}.`,
  `${ISSUER}/x`,
  `${ISSUER}:443`,
  `${ISSUER}?x`,
  `${ISSUER}#x`,
  ISSUER.slice(0, -1),
  `x${ISSUER}`,
  ISSUER.toUpperCase(),
  'https://IDP.test.example',
  'HTTPS://idp.test.example',
  'http://idp.test.example',
  'idp.test.example',
  '//idp.test.example',
  'https:/idp.test.example',
  'https:\\\\idp.test.example',
  'https://user@idp.test.example',
  'https://idp.test.example@evil.example',
  'https://%69dp.test.example',
  'https://idp.test.ex\u0430mple',
  'https://\uff49dp.test.example',
  'https://idp\u3002test.example',
  ` ${ISSUER}`,
  `${ISSUER} `,
  `${ISSUER}\n`,
  `${ISSUER}/realms/A`,
  `${ISSUER}/realms/a/`,
  `${ISSUER}/realms/b`,
  `${ISSUER}/realms/../realms/a`,
  'https://xn--bcher-kva.example',
  'https://bu\u0308cher.example',
  'https://b\u00dccher.example',
  '',
  ' ',
  '*',
  'null',
  'undefined',
  `${ISSUER},${LONGER}`,
]
const WRONG = [
  null,
  0,
  1,
  true,
  false,
  {},
  [],
  [ISSUER],
  [ISSUER, LONGER],
  { 0: ISSUER },
  { iss: ISSUER },
  [[ISSUER]],
]

describe('attack 44: 001-10: an issuer that only looks like ours', () => {
  refuses(
    arena,
    spellings(TEXT, (iss) => [`iss ${JSON.stringify(iss)}`, { claims: { iss } }, 'iss_unknown']),
  )
  refuses(
    arena,
    spellings(WRONG, (iss) => [`iss ${JSON.stringify(iss)}`, { claims: { iss } }, 'iss_unknown']),
  )
  refuses(arena, [
    ['no iss', { claims: { iss: undefined } }, 'iss_missing'],
    ['iss in the header', { header: { iss: ISSUER }, claims: { iss: undefined } }, 'iss_missing'],
    ['iss in capitals', { claims: { iss: undefined, ISS: ISSUER } }, 'iss_missing'],
    [
      'an issuer of its own with a key of its own',
      { key: signingKey('RS256', 'evil'), claims: { iss: 'https://evil.example' } },
      'iss_unknown',
    ],
  ])
  admits(arena, [
    ['the configured issuer', {}],
    ["an issuer that begins with the other's name", { claims: { iss: LONGER } }],
    ['an issuer with an international name, as configured', { claims: { iss: IDN } }],
    ['an issuer whose slashes are escaped in JSON', { payloadText: escapedSlashes() }],
  ])
})

function escapedSlashes(): string {
  const claims = {
    iss: ISSUER,
    aud: 'https://api.test.example',
    sub: 'alice',
    client_id: 'c',
    jti: 'j',
    tenant: 'acme',
    scope: 'invoice:read',
  }
  return JSON.stringify({ ...claims, iat: AT_S, exp: AT_S + 300 }).replaceAll('/', '\\/')
}
