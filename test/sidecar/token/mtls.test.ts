// RFC 8705 section 3: a token bound to a certificate, and whose word counts on which certificate the caller has shown.
import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { CertificateHeader } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { type Call, openDpopArena } from '../../attacks/dpop-arena.ts'
import { selfSigned } from '../../contracts/self-signed.ts'
import { CA_EXTENSIONS, leafExtensions, make } from '../../contracts/spiffe-openssl.ts'
import { x5tOf } from '../../fixtures/certificates.ts'
import { BASE_URL } from '../../fixtures/proofs.ts'

const EDGE = 'spiffe://cluster.example/ns/edge/sa/proxy'
const OWN = 'spiffe://cluster.example/ns/shop/sa/api'
const ca = make({ subject: '/CN=root', extensions: CA_EXTENSIONS })
const svid = (uri: string) => make({ subject: '/O=x', extensions: leafExtensions(uri), issuer: ca })
const hop = svid(EDGE)
const stranger = svid('spiffe://cluster.example/ns/evil/sa/proxy')
const twoNames = make({
  subject: '/O=x',
  extensions: [`subjectAltName=critical,URI:${EDGE},URI:${OWN}`, 'keyUsage=critical,digitalSignature'],
  issuer: ca,
})
const client = selfSigned()
const thief = selfSigned()
const hex = (der: Buffer) => Buffer.from(x5tOf(der), 'base64url').toString('hex')
const xfcc = (value: string) => ['x-forwarded-client-cert', value] as const
const clientCert = (value: string) => ['client-cert', value] as const
const SENT = `By=${OWN};Hash=${hex(client.der)}`
const encoded = `:${client.der.toString('base64')}:`

const bound = (der: Buffer): Call => ({
  token: { claims: { cnf: { 'x5t#S256': x5tOf(der) } } },
  scheme: 'Bearer',
  proof: undefined,
})
const call = (peer: Buffer | undefined, ...headers: readonly (readonly [string, string])[]): Call => ({
  ...bound(client.der),
  headers,
  ...(peer && { peerCertificate: peer }),
})

const rules = (certificateHeader: CertificateHeader, ownId = OWN) => ({
  tokens: { externalBaseUrl: BASE_URL, trustedHops: [EDGE], certificateHeader, ownId },
})
const direct = await openDpopArena()
const behind = await openDpopArena(rules(CertificateHeader.CERTIFICATE_HEADER_XFCC))
const anonymous = await openDpopArena(rules(CertificateHeader.CERTIFICATE_HEADER_XFCC, ''))
const itself = await openDpopArena({
  ...rules(CertificateHeader.CERTIFICATE_HEADER_XFCC, ''),
  replica: { ownId: () => OWN },
})
const unnamed = await openDpopArena({
  ...rules(CertificateHeader.CERTIFICATE_HEADER_XFCC, ''),
  replica: { ownId: () => undefined },
})
const standard = await openDpopArena(rules(CertificateHeader.CERTIFICATE_HEADER_CLIENT_CERT))

function judges(arena: typeof direct, rows: readonly (readonly [claim: string, call: Call, want: string])[]) {
  test.each(rows)('%s: %s', async (_, asked, want) => {
    expect(await arena.verdict(asked)).toBe(want)
  })
}

describe('003-14: the certificate of the connection itself', () => {
  judges(direct, [
    ['M1: the one the token is bound to', call(client.der), 'allow'],
    ['M1: another one', call(thief.der), 'mtls_mismatch'],
    ['M2, M3: none', call(undefined), 'mtls_missing'],
    ['M5: self-signed, and so is nobody else', call(client.der), 'allow'],
    [
      'M1: a thumbprint in hex',
      { ...call(client.der), token: { claims: { cnf: { 'x5t#S256': hex(client.der) } } } },
      'mtls_mismatch',
    ],
    [
      'M1: a thumbprint with padding',
      { ...call(client.der), token: { claims: { cnf: { 'x5t#S256': `${x5tOf(client.der)}=` } } } },
      'mtls_mismatch',
    ],
    [
      'M1: a thumbprint by SHA-1',
      { ...call(client.der), token: { claims: { cnf: { x5t: 'a' } } } },
      'cnf_unknown',
    ],
    [
      'M1: a thumbprint that is a number',
      { ...call(client.der), token: { claims: { cnf: { 'x5t#S256': 1 } } } },
      'mtls_mismatch',
    ],
    ['M1: with a byte behind it', call(Buffer.concat([client.der, Buffer.of(0)])), 'mtls_mismatch'],
    ['P1: the right one, under DPoP', { ...call(client.der), scheme: 'DPoP' }, 'cnf_scheme_mismatch'],
    [
      'M2: a header beside it that says something else',
      call(client.der, xfcc(`Hash=${hex(thief.der)}`)),
      'allow',
    ],
    [
      'M2: a header that says the right thing, beside another one',
      call(thief.der, xfcc(SENT)),
      'mtls_untrusted_hop',
    ],
    [
      'M2: a header that says the right thing, and none',
      call(undefined, clientCert(encoded)),
      'mtls_untrusted_hop',
    ],
    ['M2: a trusted name where no header counts', call(hop.der, xfcc(SENT)), 'mtls_untrusted_hop'],
  ])

  test('M3: the answer is 401 invalid_token', async () => {
    const { decision } = await direct.ask(call(undefined))
    expect(decision).toMatchObject({ reason: 'mtls_missing' })
  })

  test('M4: of a token that its issuer was asked about, cnf counts as well', async () => {
    const { introspected } = await import('./introspected.ts')
    expect(introspected({ cnf: { 'x5t#S256': x5tOf(client.der) } }, 'Bearer')).toBe('mtls_missing')
  })
})

describe('what a trusted proxy says in X-Forwarded-Client-Cert', () => {
  const chained = `By=${OWN};Hash=${hex(thief.der)},${SENT}`
  const pem = encodeURIComponent(client.cert)
  judges(behind, [
    ['X2: the hash of the right certificate', call(hop.der, xfcc(SENT)), 'allow'],
    [
      'X2: the hash in capitals',
      call(hop.der, xfcc(`By=${OWN};Hash=${hex(client.der).toUpperCase()}`)),
      'allow',
    ],
    ['X2: of another one', call(hop.der, xfcc(`By=${OWN};Hash=${hex(thief.der)}`)), 'mtls_mismatch'],
    ['X3: the certificate itself', call(hop.der, xfcc(`By=${OWN};Cert="${pem}"`)), 'allow'],
    ['X3: certificate and hash that agree', call(hop.der, xfcc(`${SENT};Cert="${pem}"`)), 'allow'],
    [
      'X3: certificate and hash that do not',
      call(hop.der, xfcc(`By=${OWN};Hash=${hex(thief.der)};Cert="${pem}"`)),
      'mtls_header_invalid',
    ],
    ['X1: the last of two, ours', call(hop.der, xfcc(chained)), 'allow'],
    [
      'X1: the first of two, ours',
      call(hop.der, xfcc(`${SENT},By=${OWN};Hash=${hex(thief.der)}`)),
      'mtls_mismatch',
    ],
    [
      'X4: spoken to somebody else',
      call(hop.der, xfcc(`By=${EDGE};Hash=${hex(client.der)}`)),
      'mtls_untrusted_hop',
    ],
    ['X4: spoken to nobody', call(hop.der, xfcc(`Hash=${hex(client.der)}`)), 'mtls_untrusted_hop'],
    ['X4: from a proxy that is not trusted', call(stranger.der, xfcc(SENT)), 'mtls_untrusted_hop'],
    ['X4: from a proxy with two names', call(twoNames.der, xfcc(SENT)), 'mtls_untrusted_hop'],
    ['X4: from something that is no certificate', call(Buffer.from('x'), xfcc(SENT)), 'mtls_untrusted_hop'],
    ['X4: from nobody', call(undefined, xfcc(SENT)), 'mtls_untrusted_hop'],
    ['X5: a header of the other kind', call(hop.der, clientCert(encoded)), 'mtls_missing'],
    ['X5: no header', call(hop.der), 'mtls_missing'],
    ['X1: two lines', call(hop.der, xfcc(SENT), xfcc(SENT)), 'mtls_header_invalid'],
    ['X5: a caller that comes without the proxy', call(client.der), 'allow'],
    [
      'X5: a caller that comes without the proxy and brings a header',
      call(client.der, xfcc(`Hash=${hex(thief.der)}`)),
      'allow',
    ],
    [
      'X4: a token of the proxy itself, through the proxy',
      { ...bound(hop.der), peerCertificate: hop.der, headers: [xfcc(SENT)] },
      'mtls_mismatch',
    ],
  ])
  judges(anonymous, [
    [
      'X4: where our name is not configured, spoken to anybody',
      call(hop.der, xfcc(`By=${EDGE};Hash=${hex(client.der)}`)),
      'allow',
    ],
    [
      'X4: where our name is not configured, spoken to nobody',
      call(hop.der, xfcc(`Hash=${hex(client.der)}`)),
      'allow',
    ],
  ])
  judges(itself, [
    ['X4: where it is not configured it is the name of the workload', call(hop.der, xfcc(SENT)), 'allow'],
    [
      "X4: and nobody else's",
      call(hop.der, xfcc(`By=${EDGE};Hash=${hex(client.der)}`)),
      'mtls_untrusted_hop',
    ],
  ])
  judges(unnamed, [
    ["X4: and while the workload has no name yet, nobody's", call(hop.der, xfcc(SENT)), 'mtls_untrusted_hop'],
  ])
  test('X5: a header that nobody asked for changes nothing for a token that is bound to nothing', async () => {
    const plain: Call = { token: {}, scheme: 'Bearer', proof: undefined, headers: [xfcc('broken"')] }
    for (const arena of [direct, behind, standard]) expect(await arena.verdict(plain)).toBe('allow')
  })
})

describe('RFC 9440: what a trusted proxy says in Client-Cert', () => {
  const base64 = client.der.toString('base64')
  judges(standard, [
    ['X2: the right certificate', call(hop.der, clientCert(encoded)), 'allow'],
    [
      'X2: another certificate',
      call(hop.der, clientCert(`:${thief.der.toString('base64')}:`)),
      'mtls_mismatch',
    ],
    ['X5: no header', call(hop.der), 'mtls_missing'],
    ['X5: a header of the other kind', call(hop.der, xfcc(SENT)), 'mtls_missing'],
    ['X4: from a proxy that is not trusted', call(stranger.der, clientCert(encoded)), 'mtls_untrusted_hop'],
    ['X1: two lines', call(hop.der, clientCert(encoded), clientCert(encoded)), 'mtls_header_invalid'],
    ...[
      base64,
      `:${base64}`,
      `${base64}:`,
      `:${base64}:;a=b`,
      `:${base64}:,:${base64}:`,
      `: ${base64}:`,
      `:${client.der.toString('base64url')}:`,
      // Never right, whatever the length: a certificate that needs one sign of padding would make a single one genuine.
      `:${base64.replace(/=+$/, '')}===:`,
      '::',
      ':AAAA:',
      '"x"',
      '',
      `:${Buffer.concat([client.der, Buffer.of(0)]).toString('base64')}:`,
    ].map(
      (value) =>
        [
          `X5: ${value.slice(0, 12)}… of ${value.length}`,
          call(hop.der, clientCert(value)),
          'mtls_header_invalid',
        ] as const,
    ),
  ])
  test('M1: the digest is that of the certificate', () => {
    expect(x5tOf(client.der)).toBe(
      Buffer.from(new X509Certificate(client.der).fingerprint256.replaceAll(':', ''), 'hex').toString(
        'base64url',
      ),
    )
  })
})
