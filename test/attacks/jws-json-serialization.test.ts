import { describe } from 'vitest'
import { admits, openArena, refuses, spellings, tokenOf } from './arena.ts'

const arena = await openArena()
const genuine = tokenOf({})
const [header = '', payload = '', signature = ''] = genuine.split('.')
const flattened = { payload, protected: header, signature }
const general = { payload, signatures: [{ protected: header, signature }] }

const FORMS = [
  JSON.stringify(flattened),
  JSON.stringify(general),
  JSON.stringify({ ...flattened, header: { alg: 'none' } }),
  JSON.stringify({
    payload,
    signatures: [
      { protected: header, signature },
      { header: { alg: 'none' }, signature: '' },
    ],
  }),
  JSON.stringify({ token: genuine }),
  `{"x":"${genuine}"}`,
  `{${genuine}`,
  `{.${payload}.${signature}`,
]
const DOTS = [
  '',
  '.',
  '..',
  '...',
  `${header}`,
  `${header}.`,
  `.${payload}.${signature}`,
  `${header}..${signature}`,
]
const MORE = [
  `${genuine}.`,
  `.${genuine}`,
  `${genuine}.${signature}`,
  `${genuine}..`,
  `${genuine}.${genuine}`,
  `..${genuine}..`,
]

describe('attack 29: J1: another serialization, or another number of segments', () => {
  refuses(
    arena,
    spellings(FORMS, (text) => [text.slice(0, 40), text, 'token_format']),
  )
  refuses(
    arena,
    spellings(
      [...DOTS, ...MORE].filter((text) => text !== '' && text.split('.').length !== 5),
      (text) => [
        `${text
          .split('.')
          .map((part) => part.length)
          .join('.')} (lengths)`,
        text,
        'token_format',
      ],
    ),
  )
  refuses(arena, [
    ['a list with the token', JSON.stringify([genuine]), 'b64_invalid'],
    ['the token in quotes', `"${genuine}"`, 'b64_invalid'],
    ['five segments', `${genuine}..`, 'jwe_unsupported'],
    ['an opaque token', 'mF_9.B5f-4.1JqM', 'json_invalid'],
    ['an opaque token without dots', '2YotnFZFEjr1zCsicMWpAA', 'token_format'],
    ['"undefined"', 'undefined', 'token_format'],
    ['"null"', 'null', 'token_format'],
  ])
  admits(arena, [['the compact form', genuine]])
})
