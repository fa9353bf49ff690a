import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { base64url, forge, noncanonical, type Segments } from '../fixtures/tokens.ts'
import { AT_S, type Attack, admits, openArena, refuses, trusting } from './arena.ts'

const keys = [
  signingKey('RS256'),
  signingKey('ES256'),
  signingKey('ES384'),
  signingKey('ES512'),
  signingKey('Ed25519'),
]
const arena = await openArena(trusting(...keys))

// Pads header and claims until each has unused bits in its last character.
const loose = (length: number) => 'x'.repeat(length)
const roomy = [0, 1, 2].flatMap((h) =>
  [0, 1, 2].map((c) => ({ header: { pad: loose(h) }, claims: { jti: 'one', pad: loose(c) } })),
)
const wish = roomy.find((one) =>
  forge({ at: AT_S, ...one })
    .split('.')
    .every((segment) => segment.length % 4 !== 0),
)
const bent = (index: number) => (segments: Segments) =>
  segments.map((text, at) => (at === index ? noncanonical(text) : text))
const bySignature = keys.flatMap((key): readonly Attack[] => {
  const [, , signature = ''] = forge({ key, at: AT_S }).split('.')
  // 96 bytes of ES384 fill their characters.
  return signature.length % 4 === 0
    ? []
    : [[`another spelling of an ${key.alg} signature`, { key, tamper: bent(2) }, 'b64_noncanonical']]
})

describe('attack 27: J2: unused bits at the end of a segment', () => {
  refuses(arena, bySignature)
  refuses(arena, [
    ['another spelling of the header', { ...wish, tamper: bent(0) }, 'b64_noncanonical'],
    ['another spelling of the claims', { ...wish, tamper: bent(1) }, 'b64_noncanonical'],
    [
      'another spelling that was signed',
      { ...wish, encode: (bytes) => noncanonical(base64url(bytes)) },
      'b64_noncanonical',
    ],
  ])
  admits(arena, [
    ['the one canonical spelling', { ...wish }],
    ...keys.map((key) => [`the one spelling of an ${key.alg} signature`, { key }] as const),
  ])
})
