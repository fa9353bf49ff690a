import { digestOfCertificate, type HeaderWord } from './client-cert.ts'

/** One certificate as X-Forwarded-Client-Cert tells it: one proxy's word. */
interface Element {
  readonly by: readonly string[]
  readonly hash: string | undefined
  readonly cert: string | undefined
}

/**
 * Reads X-Forwarded-Client-Cert as Envoy writes it: elements between commas, the last by the proxy next to us, each of pairs between
 * semicolons, values with commas, semicolons, equals signs or blanks in quotes. The whole line must be well-formed, because whoever
 * reads a broken one guesses where an element ends. `ownId` is whom the proxy must have spoken to: empty for
 * anybody, `undefined` while that is not known.
 */
export function readXfcc(lines: readonly string[], ownId: string | undefined): HeaderWord {
  const [line, second] = lines
  if (line === undefined) return 'absent'
  const last = second === undefined ? lastElement(line) : undefined
  if (!last || last.by.length > 1) return 'malformed'
  if (ownId === undefined || (ownId !== '' && last.by[0] !== ownId)) return 'for another'
  const stated = last.hash === undefined ? undefined : hashOf(last.hash)
  const shown = last.cert === undefined ? undefined : certificateOf(last.cert)
  if (stated === 'malformed' || shown === 'malformed') return 'malformed'
  if (stated && shown) return Buffer.compare(stated, shown) === 0 ? shown : 'malformed'
  return shown ?? stated ?? 'malformed'
}

/** Names of pairs, lower case, and whether one may come more than once. */
const PAIRS: ReadonlyMap<string, boolean> = new Map([
  ['by', true],
  ['hash', false],
  ['cert', false],
  ['chain', false],
  ['subject', false],
  ['uri', true],
  ['dns', true],
])

/** One pair with what follows it. A backslash in quotes takes the next character with it, whatever that is (RFC 4514 section 2.4 has them, too). */
const PAIR =
  /([A-Za-z]+)=(?:"((?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\x20-\x7e\x80-\xff])*)"|([\x21\x23-\x2b\x2d-\x3a\x3c\x3e-\x5b\x5d-\x7e\x80-\xff]*))(;|[ \t]*,[ \t]*|$)/y

function lastElement(line: string): Element | undefined {
  const pairs = new RegExp(PAIR)
  const text = line.replace(/^[ \t]+|[ \t]+$/g, '')
  let pairsOf = new Map<string, string[]>()
  while (pairs.lastIndex < text.length) {
    const [, key = '', quoted, plain = '', after = ''] = pairs.exec(text) ?? []
    const name = key.toLowerCase()
    const values = pairsOf.get(name)
    if (!PAIRS.has(name) || (values && !PAIRS.get(name))) return undefined
    const value = quoted === undefined ? plain : quoted.replace(/\\(["\\])/g, '$1')
    pairsOf.set(name, [...(values ?? []), value])
    if (after === '')
      return { by: pairsOf.get('by') ?? [], hash: only(pairsOf, 'hash'), cert: only(pairsOf, 'cert') }
    if (after !== ';') pairsOf = new Map()
  }
  // Empty, or it ends in a separator.
  return undefined
}

function only(pairs: ReadonlyMap<string, readonly string[]>, name: string): string | undefined {
  return pairs.get(name)?.[0]
}

function hashOf(text: string): Buffer | 'malformed' {
  return /^[0-9A-Fa-f]{64}$/.test(text) ? Buffer.from(text, 'hex') : 'malformed'
}

const PEM = /^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----(?:\r?\n)*$/

function certificateOf(encoded: string): Buffer | 'malformed' {
  if (!/^(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*$/.test(encoded)) return 'malformed'
  const pem = encoded.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  return PEM.test(pem) ? digestOfCertificate(pem) : 'malformed'
}
