import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses, spellings, trusting } from './arena.ts'

const LONGEST = `${'k'.repeat(124)}+/=`
const unusual = [
  'a.b_c-d~e',
  'https://idp.test.example/keys#1',
  'k@2/3:4',
  '{0}',
  'A,B',
  '!',
  LONGEST.slice(0, 128),
]
const keys = ['rs256-1', ...unusual].map((kid) => signingKey('ES256', kid))
const arena = await openArena(trusting(...keys))
const key = signingKey('ES256', 'rs256-1')

const PATHS = [
  '../../dev/null',
  '..',
  'rs256-1/..',
  '..\\..\\nul',
  'a/../b',
  '....//dev/null',
  '%2e%2e%2fdev%2fnull',
]
const QUERIES = [
  "' or 1=1",
  "' OR '1'='1' --",
  '1;DROP TABLE keys',
  "x' UNION SELECT 'k",
  '"',
  '*)(uid=*))(|(uid=*',
  '(cn=*)',
  '*',
]
const COMMANDS = [
  '|id',
  '`id`',
  '$(id)',
  '& whoami',
  'a;b',
  '<script>',
  `${'$'}{jndi:ldap://x}`,
  '%00',
  '^',
  '?x=1',
  "k'",
]
const BLANKS = [
  ' rs256-1',
  'rs256-1 ',
  'rs256-1\n',
  'rs256-1\r\nX: y',
  '\t',
  'rs\u200b256',
  'r\u0455256',
  '\u2025/',
  'ｒs256-1',
]

describe('attack 12: J9: a kid that is a path, a query or a command', () => {
  refuses(
    arena,
    spellings([...PATHS, ...QUERIES, ...COMMANDS, ...BLANKS], (kid) => [
      `kid ${JSON.stringify(kid)}`,
      { key, header: { kid } },
      'kid_invalid',
    ]),
  )
  refuses(arena, [
    [
      'a kid with an escaped NUL',
      { key, headerText: '{"alg":"ES256","typ":"at+jwt","kid":"rs256-1\\u0000"}' },
      'json_invalid',
    ],
    ['a kid of 129 characters', { key, header: { kid: 'k'.repeat(129) } }, 'kid_invalid'],
    [
      'an absolute path, which is a name that no key has,',
      { key, header: { kid: '/dev/null' } },
      'kid_unknown',
    ],
    ['a kid that differs in case', { key, header: { kid: 'RS256-1' } }, 'kid_unknown'],
  ])
  admits(arena, [
    ['an ordinary kid', { key }],
    ...unusual.map((kid) => [`the kid ${kid}`, { key: signingKey('ES256', kid) }] as const),
  ])
})
