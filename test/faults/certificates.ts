import { CA_EXTENSIONS, type Made, make } from '../contracts/spiffe-openssl.ts'

// Certificates of an issuer: one that is right, and one for each way to be wrong.

export interface Identity {
  readonly key: string
  readonly cert: string
}

export interface Certificates {
  // PEM, to be trusted.
  readonly authority: string
  readonly sound: Identity
  readonly wrong: Readonly<Record<'expired' | 'wrong name' | 'self-signed' | 'unknown authority', Identity>>
}

const leaf = (name: string) => [`subjectAltName=${name}`, 'extendedKeyUsage=serverAuth']
const LOCAL = 'DNS:localhost,IP:127.0.0.1'

export function makeCertificates(): Certificates {
  const authority = make({ subject: '/CN=authority', extensions: CA_EXTENSIONS })
  const stranger = make({ subject: '/CN=stranger', extensions: CA_EXTENSIONS })
  const signed = (issuer: Made, name = LOCAL, days = 30) =>
    identityOf(make({ subject: '/CN=localhost', extensions: leaf(name), issuer, days }))
  return {
    authority: authority.pem,
    sound: signed(authority),
    wrong: {
      expired: signed(authority, LOCAL, -1),
      'wrong name': signed(authority, 'DNS:other.example'),
      'self-signed': identityOf(make({ subject: '/CN=localhost', extensions: leaf(LOCAL) })),
      'unknown authority': signed(stranger),
    },
  }
}

function identityOf({ keyPem, pem }: Made): Identity {
  return { key: keyPem, cert: pem }
}
