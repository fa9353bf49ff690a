import fc from 'fast-check'
import { x5tOf } from '../fixtures/certificates.ts'
import { type SigningKey, signerOf } from '../fixtures/keys.ts'
import { athOf, BASE_URL, bareJwk, jktOf } from '../fixtures/proofs.ts'
import { forge } from '../fixtures/tokens.ts'
import { CERTIFICATES, CLIENT, CLIENTS, OWN, THIEF } from './call-world.ts'
import {
  type Change,
  change,
  type Draft,
  draftOf,
  encodingChange,
  KEYS,
  ODD,
  segmentChange,
  signatureChange,
  textChange,
  tokenOf,
} from './mutants.ts'
import { proofClaim, proofHeader, thiefSigns } from './proof-mutants.ts'

// Calls a few changes away from a genuine one: a token that is bound to a key, to a certificate or to nothing, what proves possession,
// and the request around them.

/** What is sent. Lines as `[name, value]`. */
export interface Call {
  readonly token: string
  readonly scheme: string
  readonly proofs: readonly string[]
  readonly method: string
  readonly url: string
  readonly xfcc: readonly string[]
  readonly peer: Buffer | undefined
}

interface CallDraft {
  token: Draft
  client: SigningKey
  proof: Draft
  /** Of the token that the proof is for, when it is not the one that is sent. */
  ath: ((token: string) => unknown) | undefined
  scheme: string
  lines: (proof: string) => readonly string[]
  method: string
  url: string
  xfcc: readonly string[]
  peer: Buffer | undefined
}
type CallChange = (draft: CallDraft) => void

export function callMutant(atS: number): fc.Arbitrary<Call> {
  const bindings = fc.constantFrom<Binding>('key', 'key', 'key', 'certificate', 'proxy', 'nothing')
  const changes = fc.array(callChange(atS), { minLength: 0, maxLength: 3 })
  const parts = fc.tuple(bindings, fc.constantFrom(CLIENT, CLIENT, ...CLIENTS), fc.nat(1e9), changes)
  return parts.map(([binding, client, serial, list]) => {
    const draft = callDraft(binding, client, atS)
    draft.proof.claims['jti'] = `proof-${serial}`
    for (const one of list) one(draft)
    return callOf(draft)
  })
}

type Binding = 'key' | 'certificate' | 'proxy' | 'nothing'

function callDraft(binding: Binding, client: SigningKey, atS: number): CallDraft {
  const [ED = client] = KEYS
  const token = draftOf(ED, atS)
  const cnf = { key: { jkt: jktOf(client) }, certificate: x5t(), proxy: x5t(), nothing: undefined }[binding]
  if (cnf) token.claims['cnf'] = cnf
  const header = { typ: 'dpop+jwt', alg: client.alg, jwk: bareJwk(client) }
  const claims = { htm: 'GET', htu: `${BASE_URL}/invoices/inv-1`, iat: atS }
  const byProxy = binding === 'proxy'
  return {
    token,
    client,
    proof: { ...draftOf(client, atS), header, claims },
    ath: undefined,
    scheme: binding === 'key' ? 'DPoP' : 'Bearer',
    lines: (proof) => (binding === 'key' ? [proof] : []),
    method: 'GET',
    url: '/invoices/inv-1?currency=EUR',
    xfcc: byProxy ? [`By=${OWN};Hash=${hexOf(CERTIFICATES.client)}`] : [],
    peer: byProxy ? CERTIFICATES.hop : binding === 'certificate' ? CERTIFICATES.client : undefined,
  }
}

const x5t = () => ({ 'x5t#S256': x5tOf(CERTIFICATES.client) })

function hexOf(der: Buffer): string {
  return Buffer.from(x5tOf(der), 'base64url').toString('hex')
}

function callOf({ token: tokenDraft, proof, ath = athOf, lines, ...rest }: CallDraft): Call {
  const token = tokenOf(tokenDraft)
  const { encode, tamper, headerText, claimsText } = proof
  const claims = { ath: ath(token), ...proof.claims }
  const text = forge({
    encode,
    tamper,
    sign: proof.sign ?? signerOf(proof.key),
    headerText: headerText(JSON.stringify(proof.header)),
    payloadText: claimsText(JSON.stringify(claims)),
  })
  const { scheme, method, url, xfcc, peer } = rest
  return { token, proofs: lines(text), scheme, method, url, xfcc, peer }
}

function callChange(atS: number): fc.Arbitrary<CallChange> {
  const onProof = (arbitrary: fc.Arbitrary<Change>) =>
    arbitrary.map(
      (one): CallChange =>
        ({ proof }) =>
          one(proof),
    )
  return fc.oneof(
    {
      weight: 5,
      arbitrary: change(atS).map(
        (one): CallChange =>
          ({ token }) =>
            one(token),
      ),
    },
    { weight: 6, arbitrary: onProof(proofClaim(atS)) },
    { weight: 4, arbitrary: onProof(proofHeader()) },
    { weight: 1, arbitrary: onProof(textChange()) },
    { weight: 1, arbitrary: onProof(encodingChange()) },
    { weight: 2, arbitrary: onProof(fc.oneof(signatureChange(), thiefSigns())) },
    { weight: 1, arbitrary: onProof(segmentChange()) },
    { weight: 3, arbitrary: bindingChange() },
    { weight: 4, arbitrary: requestChange() },
    { weight: 4, arbitrary: certificateChange() },
  )
}

function bindingChange(): fc.Arbitrary<CallChange> {
  const both = { jkt: jktOf(CLIENT), ...x5t() }
  const cnfs: readonly unknown[] = [
    undefined,
    {},
    { jkt: jktOf(CLIENT) },
    { jkt: jktOf(THIEF) },
    { jkt: `${jktOf(CLIENT)}=` },
    { jkt: [jktOf(CLIENT)] },
    { jkt: '' },
    { JKT: jktOf(CLIENT) },
    { jwk: bareJwk(CLIENT) },
    { kid: 'client' },
    both,
    { ...both, x: 1 },
    x5t(),
    { 'x5t#S256': x5tOf(CERTIFICATES.hop) },
    { 'x5t#S256': x5tOf(CERTIFICATES.thief) },
    { x5t: x5tOf(CERTIFICATES.client) },
  ]
  return fc.oneof(fc.constantFrom(...cnfs), ODD).map(
    (cnf): CallChange =>
      ({ token }) => {
        token.claims['cnf'] = cnf
      },
  )
}

function requestChange(): fc.Arbitrary<CallChange> {
  const changes: readonly CallChange[] = [
    ...['Bearer', 'DPoP', 'dpop', 'BEARER', 'Basic', 'DPoP2'].map(
      (scheme): CallChange =>
        (draft) => {
          draft.scheme = scheme
        },
    ),
    ...[
      () => [],
      (proof: string) => [proof],
      (proof: string) => [proof, proof],
      (proof: string) => [`${proof}, ${proof}`],
      (proof: string) => [` ${proof}`],
      () => [''],
    ].map(
      (lines): CallChange =>
        (draft) => {
          draft.lines = lines
        },
    ),
    ...['POST', 'get', 'PUT'].map(
      (method): CallChange =>
        (draft) => {
          draft.method = method
        },
    ),
    ...[
      '/invoices/inv-1',
      '/invoices/inv-2',
      '/invoices/inv-1/',
      '//invoices/inv-1',
      '/invoices/%69nv-1',
    ].map(
      (url): CallChange =>
        (draft) => {
          draft.url = url
        },
    ),
    (draft) => {
      draft.ath = () => athOf(`${draft.token.claims['jti']}`)
    },
  ]
  return fc.constantFrom(...changes)
}

function certificateChange(): fc.Arbitrary<CallChange> {
  const hash = hexOf(CERTIFICATES.client)
  const thief = hexOf(CERTIFICATES.thief)
  const said: readonly (readonly string[])[] = [
    [],
    [`By=${OWN};Hash=${hash}`],
    [`by="${OWN}";hash=${hash.toUpperCase()}`],
    [`By=${OWN};Hash=${thief}`],
    [`By=spiffe://other/x;Hash=${hash}`],
    [`Hash=${hash}`],
    [`By=${OWN};Hash=${hash};Hash=${hash}`],
    [`By=${OWN};Hash=${hash.slice(1)}`],
    [`By=${OWN};Hash=${hash},By=${OWN};Hash=${thief}`],
    [`By=${OWN};Hash=${thief},By=${OWN};Hash=${hash}`],
    [`By=${OWN};Hash=${thief};Subject="x,By=${OWN};Hash=${hash}"`],
    [`By=${OWN};Hash=${hash};Subject="CN=\\"x\\",O=y"`],
    [`By=${OWN};Hash=${hash};Subject="x`],
    [`By=${OWN};Hash=${hash};`],
    [`By=${OWN};Hash=${hash}`, `By=${OWN};Hash=${hash}`],
    [`By=${OWN};Hash=${hash};Unknown=1`],
  ]
  const shows = fc.constantFrom(undefined, ...Object.values(CERTIFICATES))
  return fc.oneof(
    fc.constantFrom(...said).map(
      (lines): CallChange =>
        (draft) => {
          draft.xfcc = lines
        },
    ),
    shows.map(
      (peer): CallChange =>
        (draft) => {
          draft.peer = peer
        },
    ),
  )
}
