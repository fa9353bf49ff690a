import { addresses, caBundle, httpsUrl } from './forms.ts'
import { choice, duration, object, text } from './schema.ts'

/** Endpoints of an authorization server that want to know who asks. There is no shared secret among the ways to say it. */

function endpoint(what: string) {
  return {
    endpoint: httpsUrl(`URL of ${what}.`, 2048),
    authentication: choice(
      'How the workload says who it is. MTLS: with its X.509-SVID (RFC 8705 section 2). PrivateKeyJWT: with a JWT signed by its key (RFC 7523).',
      ['MTLS', 'PrivateKeyJWT'],
    ).default('MTLS'),
    clientId: text('Its client_id there; absent: its SPIFFE ID.', { max: 512 }).exactOptional(),
    timeout: duration('How long an answer is waited for.', {
      from: '50ms',
      to: '10s',
      such: '1s',
      why: 'the request waits for it',
    }).default('1s'),
    caBundle: caBundle(
      'PEM certificates that sign its server, instead of the well-known authorities.',
    ).exactOptional(),
    addresses: addresses(),
  }
}

export function introspection() {
  return object('How the issuer is asked about a token (RFC 7662). Absent: opaque tokens are refused.', {
    ...endpoint('the introspection endpoint'),
    opaque: choice('Whether tokens that are no JWT are asked about.', ['Accepted', 'Refused']).default(
      'Accepted',
    ),
    cache: duration('How long the answer "active" may be used.', {
      from: '0s',
      to: '30s',
      such: '10s',
      why: 'a token that is revoked at its issuer alone is believed for that long',
    }).default('10s'),
  })
}

export function exchange() {
  return object(
    'Where a token is exchanged for a narrower one (RFC 8693). Absent: none can be.',
    endpoint('the token endpoint'),
  )
}
