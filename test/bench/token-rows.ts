import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { selfSigned } from '../contracts/self-signed.ts'
import { x5tOf } from '../fixtures/certificates.ts'
import { type SigningKey, signingKey } from '../fixtures/keys.ts'
import { BASE_URL, forgeProof, jktOf } from '../fixtures/proofs.ts'
import { question } from '../fixtures/question.ts'
import type { Members } from '../fixtures/tokens.ts'
import { framed, subjectOf, tokenFor } from './workload.ts'

// Questions that differ in nothing but what comes with the token. All of them are allowed.

/** What each row asks. Known: the token was verified before; new: nobody has seen it. */
export const ROW_NAMES = [
  'bearer, new token',
  'bearer, known token',
  'DPoP, warm key, new token',
  'DPoP, warm key, known token',
  'DPoP, cold key, new token',
  'mTLS-bound, new token',
  'mTLS-bound, known token',
  'empty RPC',
] as const
export type RowName = (typeof ROW_NAMES)[number]

/** A question as frame of a stream, under the id `index + 1`. */
export interface Framed {
  readonly streamed: Buffer
}

export interface TokenRows {
  /** Questions of one round, proofs made now: they are good for a minute. `at`: seconds since the epoch. */
  batch(name: RowName, round: number, at: number): readonly Framed[]
}

/** How many rounds there are and how many questions each row has in one. */
export interface RowSize {
  readonly rounds: number
  readonly asked: number
}

/** Known tokens of a row, and warm keys. */
const FEW = 10
/** Of token ids: no token is in two of them. */
const BLOCKS = ['bearer', 'warm', 'cold', 'mtls', 'known'] as const

interface Shown {
  readonly token: string
  readonly key?: SigningKey
  readonly certificate?: Buffer
}

/** Signs every token beforehand. Takes about a millisecond each: four rows of new ones. */
export function createTokenRows({ rounds, asked }: RowSize, at: number): TokenRows {
  const all = rounds * asked
  const sign = (block: (typeof BLOCKS)[number], index: number, more: Members = {}) =>
    tokenFor(BLOCKS.indexOf(block) * all + index, at, { sub: SUBJECT, ...more })
  const fill = (count: number, make: (index: number) => Shown) =>
    Array.from({ length: count }, (_, index) => make(index))
  const certificate = selfSigned().der
  const x5t = { cnf: { 'x5t#S256': x5tOf(certificate) } }
  const warmKeys = Array.from({ length: FEW }, (_, index) => signingKey('ES256', `warm-${index}`))
  const bound = (key: SigningKey) => ({ cnf: { jkt: jktOf(key) } })
  const warmKey = (index: number) => warmKeys[index % FEW] ?? signingKey('ES256')
  const coldKey = (index: number) => signingKey('ES256', `cold-${index}`)
  const known = (index: number, more?: Members) => sign('known', index, more)
  const bearers = fill(all, (index) => ({ token: sign('bearer', index) }))
  const shown: Readonly<Record<RowName, readonly Shown[]>> = {
    'bearer, new token': bearers,
    'bearer, known token': fill(FEW, (index) => ({ token: known(index) })),
    'DPoP, warm key, new token': fill(all, (index) => {
      const key = warmKey(index)
      return { token: sign('warm', index, bound(key)), key }
    }),
    'DPoP, warm key, known token': fill(FEW, (index) => {
      const key = warmKey(index)
      return { token: known(FEW + index, bound(key)), key }
    }),
    'DPoP, cold key, new token': fill(all, (index) => {
      const key = coldKey(index)
      return { token: sign('cold', index, bound(key)), key }
    }),
    'mTLS-bound, new token': fill(all, (index) => ({ token: sign('mtls', index, x5t), certificate })),
    'mTLS-bound, known token': fill(FEW, (index) => ({ token: known(2 * FEW + index, x5t), certificate })),
    'empty RPC': bearers.slice(0, asked),
  }
  return {
    batch(name, round, now) {
      const tokens = shown[name]
      const from = tokens.length === all ? round * asked : 0
      return Array.from({ length: asked }, (_, index) =>
        encoded(tokens[(from + index) % tokens.length] ?? { token: '' }, index, now),
      )
    },
  }
}

const SUBJECT = subjectOf(0)

function encoded({ token, key, certificate }: Shown, index: number, at: number): Framed {
  const path = `/invoices/inv-${String(index).padStart(8, '0')}`
  const proof = key && forgeProof({ key, token, url: `${BASE_URL}${path}`, at })
  const asked = question({
    authorization: [`${key ? 'DPoP' : 'Bearer'} ${token}`],
    url: `${path}?currency=EUR`,
    stored: { owner: SUBJECT },
  })
  const check = {
    ...asked,
    headers: [...asked.headers, ...(proof ? [{ name: 'dpop', value: Buffer.from(proof) }] : [])],
    peerCertificate: certificate ?? asked.peerCertificate,
  }
  return { streamed: framed(AuthorizerService.checkStream.requestSerialize({ id: index + 1, check })) }
}
