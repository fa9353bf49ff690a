import { describe, expect, test } from 'vitest'
import { AUDIENCE, CLIENT, ISSUER } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const TEXT = [
  `${AUDIENCE}.evil`,
  `${AUDIENCE}/`,
  `${AUDIENCE}/x`,
  `x${AUDIENCE}`,
  AUDIENCE.slice(0, -1),
  AUDIENCE.slice(1),
  AUDIENCE.toUpperCase(),
  `${AUDIENCE} `,
  ` ${AUDIENCE}`,
  `${AUDIENCE}\n`,
  `${AUDIENCE} https://other.example`,
  `${AUDIENCE},https://other.example`,
  `${AUDIENCE}:443`,
  'https:/api.test.example',
  'api.test.example',
  'https://API.test.example',
  'https://api.test.example.',
  'https://%61pi.test.example',
  'https://api.test.ex\u0430mple',
  '',
  ' ',
  '*',
  'https://*',
  '.*',
  ISSUER,
  CLIENT,
  'undefined',
  'null',
  JSON.stringify([AUDIENCE]),
]
const WRONG = [
  null,
  1,
  0,
  true,
  false,
  {},
  [],
  { 0: AUDIENCE },
  { [AUDIENCE]: true },
  { length: 1, 0: AUDIENCE },
  { includes: AUDIENCE },
  ['x', [AUDIENCE]],
  [[AUDIENCE]],
  [AUDIENCE, 1],
  [AUDIENCE, null],
  [null, AUDIENCE],
  [AUDIENCE, {}],
  [AUDIENCE, true],
  [AUDIENCE, [AUDIENCE]],
  [1],
]

describe('attack 42: 000-02, 000-09, J13, A3: an audience that only looks like ours', () => {
  refuses(
    arena,
    spellings(TEXT, (aud) => [`aud ${JSON.stringify(aud)}`, { claims: { aud } }, 'aud_mismatch']),
  )
  refuses(
    arena,
    spellings(TEXT, (aud) => [`aud ${JSON.stringify([aud])}`, { claims: { aud: [aud] } }, 'aud_mismatch']),
  )
  refuses(
    arena,
    spellings(WRONG, (aud) => [`aud ${JSON.stringify(aud)}`, { claims: { aud } }, 'aud_invalid']),
  )
  refuses(arena, [
    ['no aud', { claims: { aud: undefined } }, 'aud_missing'],
    ['aud in capitals', { claims: { aud: undefined, AUD: AUDIENCE } }, 'aud_missing'],
    [
      'our audience as azp',
      { claims: { aud: 'https://other.example', azp: AUDIENCE, resource: AUDIENCE } },
      'aud_mismatch',
    ],
    ['our audience in the header', { header: { aud: AUDIENCE }, claims: { aud: undefined } }, 'aud_missing'],
    ['ten audiences that are all not ours', { claims: { aud: TEXT.slice(0, 10) } }, 'aud_mismatch'],
  ])
  admits(arena, [
    ['our audience as text', { claims: { aud: AUDIENCE } }],
    ['our audience in a list', { claims: { aud: [AUDIENCE] } }],
    ['our audience before another', { claims: { aud: [AUDIENCE, 'https://other.example'] } }],
    ['our audience after another', { claims: { aud: ['https://other.example', AUDIENCE] } }],
    ['our audience twice', { claims: { aud: [AUDIENCE, AUDIENCE] } }],
    ['our audience beside an empty one', { claims: { aud: ['', AUDIENCE] } }],
  ])

  test('what the request says of its host changes nothing', async () => {
    const evil = { claims: { aud: 'https://other.example' } }
    for (const url of ['https://other.example/x', '//other.example', '/x?aud=https://api.test.example']) {
      expect(await arena.verdict(evil, { url })).toBe('aud_mismatch')
      expect(await arena.verdict({}, { url })).toBe('allow')
    }
  })

  test('each of two workloads takes its own tokens only', async () => {
    const audiences = ['https://a.example', 'https://b.example']
    for (const ours of audiences) {
      const workload = await openArena({ audience: ours })
      for (const aud of audiences)
        expect(await workload.verdict({ claims: { aud } })).toBe(aud === ours ? 'allow' : 'aud_mismatch')
    }
  })
})
