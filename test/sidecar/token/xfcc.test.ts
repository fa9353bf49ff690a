// X-Forwarded-Client-Cert, read strictly: where two readers could see two different elements there is none.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readXfcc } from '../../../sidecar/token/xfcc.ts'
import { selfSigned } from '../../contracts/self-signed.ts'
import { x5tOf } from '../../fixtures/certificates.ts'

const A = 'a'.repeat(64)
const B = 'b'.repeat(64)
const seen = (line: string, ownId = ''): string => {
  const word = readXfcc([line], ownId)
  return typeof word === 'string' ? word : word.toString('hex')
}

describe('a line as Envoy writes it', () => {
  test.each([
    ['the hash alone', `Hash=${A}`, A],
    ['keys in other letters', `hAsH=${A};bY=spiffe://x/y`, A],
    [
      'everything at once',
      `By=spiffe://x/y;Hash=${A};Subject="CN=a,O=b";URI=spiffe://x/z;DNS=a.example;DNS=b.example`,
      A,
    ],
    ['several of URI', `Hash=${A};URI=a;URI=b`, A],
    ['an empty URI', `Hash=${A};URI=;Subject=""`, A],
    ['two elements', `Hash=${B},Hash=${A}`, A],
    ['two elements with a blank', `Hash=${B}, Hash=${A}`, A],
    ['a quoted separator', `Subject="a;Hash=${B},Hash=${B}";Hash=${A}`, A],
    ['an escaped quote', `Subject="a\\";Hash=${B}";Hash=${A}`, A],
    ['a backslash at the end of a quote (RFC 4514)', `Subject="O=a\\\\";Hash=${A}`, A],
    ['an escaped comma (RFC 4514)', `Subject="O=a\\, Inc";Hash=${A}`, A],
    ['a chain that is not read', `Hash=${A};Chain="%2D"`, A],
    ['blanks around the line', ` Hash=${A}\t`, A],
  ])('X1, X2: %s', (_, line, want) => {
    expect(seen(line)).toBe(want)
  })
})

describe('a line that says nothing', () => {
  test.each([
    ['empty', ''],
    ['blank', ' '],
    ['no pair', 'x'],
    ['an empty element at the end', `Hash=${A},`],
    ['an empty element at the beginning', `,Hash=${A}`],
    ['an empty element between', `Hash=${A},,Hash=${A}`],
    ['an empty pair at the end', `Hash=${A};`],
    ['an empty pair between', `By=x;;Hash=${A}`],
    ['the hash twice', `Hash=${A};Hash=${A}`],
    ['the hash twice in other letters', `Hash=${A};hash=${B}`],
    ['the subject twice', `Hash=${A};Subject="a";Subject="b"`],
    ['By twice', `By=a;By=b;Hash=${A}`],
    ['a key that is unknown', `Hash=${A};Trust=yes`],
    ['no key', `=x;Hash=${A}`],
    ['a blank before the equals sign', `Hash =${A}`],
    ['a blank after it', `Hash= ${A}`],
    ['a blank in a value', `URI=a b;Hash=${A}`],
    ['a tab in quotes', `Subject="a\tb";Hash=${A}`],
    ['an equals sign outside quotes', `URI=a=b;Hash=${A}`],
    ['a quote that never ends', `Hash=${A};Subject="a`],
    ['a quote that begins late', `Hash=${A};Subject=a"b"`],
    ['something after a quote', `Subject="a"b;Hash=${A}`],
    ['a backslash outside quotes', `URI=a\\;Hash=${A}`],
    ['a backslash at the very end', `Hash=${A};Subject="a\\`],
    ['a hash that is too short', `Hash=${A.slice(2)}`],
    ['a hash that is too long', `Hash=${A}aa`],
    ['a hash that is no hex', `Hash=${'g'.repeat(64)}`],
    ['an empty hash', 'Hash='],
    ['neither hash nor certificate', 'By=spiffe://x/y;Subject="CN=a"'],
    ['a certificate that is none', `Cert="abc"`],
    ['a certificate whose escapes are broken', 'Cert="%4"'],
    ['a broken element before a good one', `Subject="a"b,Hash=${A}`],
    ['a control character', `Hash=${A};URI=\u0000`],
  ])('X1, X5: %s', (_, line) => {
    expect(seen(line)).toBe('malformed')
  })

  test('X5: no line at all is not a broken one', () => {
    expect(readXfcc([], '')).toBe('absent')
  })

  test('X3: more than one certificate, or a key beside it, is no certificate', () => {
    const { cert, key, der } = selfSigned()
    const line = (text: string) => `Cert="${encodeURIComponent(text)}"`
    expect(seen(line(cert))).toBe(Buffer.from(x5tOf(der), 'base64url').toString('hex'))
    for (const text of [
      cert + cert,
      key + cert,
      cert + key,
      cert.slice(0, -2),
      ` ${cert}`,
      cert.replaceAll('-----', ''),
    ])
      expect(seen(line(text))).toBe('malformed')
  })
})

describe('X4: whom the proxy spoke to', () => {
  test.each([
    ['the same', `By=spiffe://x/y;Hash=${A}`, A],
    ['the same, in quotes', `By="spiffe://x/y";Hash=${A}`, A],
    ['another', `By=spiffe://x/z;Hash=${A}`, 'for another'],
    ['nobody', `Hash=${A}`, 'for another'],
    ['the same, but said by an earlier proxy', `By=spiffe://x/y;Hash=${A},Hash=${A}`, 'for another'],
    ['in other letters', `By=spiffe://X/y;Hash=${A}`, 'for another'],
  ])('X4: %s', (_, line, want) => {
    expect(seen(line, 'spiffe://x/y')).toBe(want)
  })
})

test('X1: whatever an element before ours says, ours is read or nothing is', () => {
  const text = fc.string({ unit: 'grapheme-ascii', maxLength: 40 })
  fc.assert(
    fc.property(text, fc.constantFrom('', '"', '\\', ';', 'Subject="', `Hash=${B}`), (before, more) => {
      expect([A, 'malformed']).toContain(seen(`${before}${more},Hash=${A}`))
    }),
    { numRuns: 2_000 },
  )
})
