import { httpsUrl, spiffeId } from './forms.ts'
import { choice, duration, formed, object, ruled, set, text } from './schema.ts'

/** What a workload asks of tokens and of how they are presented; the words are also those of the sidecar's own file. */

const YEAR = '8760h'

export function requirements(description: string) {
  return object(description, {
    senderConstraints: set(
      'Ways of being bound to its sender of which a token needs one. Absent: a bearer token will do, and whoever steals it has all of it.',
      choice('DPoP: RFC 9449. MTLS: RFC 8705.', ['DPoP', 'MTLS']),
      { min: 1, max: 2 },
    ).exactOptional(),
    introspect: choice(
      'Always: the issuer is asked about each token each time, whatever is cached (RFC 7662); without an answer the request is denied. WhenOpaque: only about tokens that are no JWT.',
      ['Always', 'WhenOpaque'],
    ).default('WhenOpaque'),
    sharedReplay: choice(
      'Required: a DPoP proof must be unseen by every replica, and for token:verify a logout token or client assertion; without Redis such requests are denied (503). Optional: without Redis each replica accepts only proofs with a nonce of its own.',
      ['Required', 'Optional'],
    ).default('Optional'),
    acrValues: set(
      'Authentication contexts (acr) of which a token needs one; else the caller is told to step up (RFC 9470).',
      formed('A value of acr.', {
        max: 256,
        pattern: '^[!#-\\[\\]-~]+$',
        says: 'must be a value of acr: ASCII without blanks, quotes and backslashes',
      }),
      { min: 1, max: 16 },
    ).exactOptional(),
    maxAuthAge: duration(
      'Longest time since the user authenticated (auth_time); else the caller is told to step up. In whole seconds: a fraction is dropped.',
      {
        from: '1s',
        to: YEAR,
        such: '15m',
      },
    ).exactOptional(),
    maxTokenAge: duration(
      'Longest time since the token was issued (iat). In whole seconds: a fraction is dropped.',
      {
        from: '1s',
        to: '24h',
        such: '5m',
        why: 'no token may live for longer than that anyway',
      },
    ).exactOptional(),
    clientKind: choice(
      "Machine: clients that act for themselves; a user's token is refused. User: the reverse.",
      ['Any', 'Machine', 'User'],
    ).default('Any'),
  })
}

export function tokens(description: string) {
  return ruled(
    object(description, {
      externalBaseURL: httpsUrl(
        'URL under which callers find the workload, as they see it: htu of a DPoP proof is compared with it and never with the Host of a request. Absent: DPoP-bound tokens are refused.',
        512,
      ).exactOptional(),
      strippedPrefix: formed('Path prefix that the edge takes away before the workload sees the path.', {
        max: 512,
        pattern: '^(/[A-Za-z0-9._~%-]+)+$',
        says: 'must be a path such as /billing, without a slash at its end',
      }).exactOptional(),
      trustedHops: set(
        "Proxies whose word on their client's certificate counts.",
        spiffeId('SPIFFE ID of a proxy.'),
        { min: 1, max: 16 },
      ).exactOptional(),
      certificateHeader: choice('How they tell it. XFCC: X-Forwarded-Client-Cert. ClientCert: RFC 9440.', [
        'None',
        'XFCC',
        'ClientCert',
      ]).default('None'),
      ownId: spiffeId(
        'SPIFFE ID that a trusted hop saw of the workload (By); absent: that of its service account.',
      ).exactOptional(),
      deniedAudiences: set(
        'Audiences that are refused even beside spec.audience.',
        text('An aud.', { max: 512 }),
        { min: 1, max: 64 },
      ).exactOptional(),
      firstPartyScopes: set(
        'Scopes that only spec.firstPartyClients of the TokenIssuer may use. A token of any other client that has one is denied.',
        formed('A scope.', {
          max: 256,
          pattern: '^([!#-)+-\\[\\]-~]+[*]?|[*])$',
          says: 'must be the exact name of a scope, or a prefix of names with one "*" at its end',
        }),
        { min: 1, max: 64 },
      ).exactOptional(),
      requirements: requirements('What tokens must bring for actions that no route names.').exactOptional(),
    }),
    {
      says: 'needs trustedHops: from anybody else the header is not believed; name the proxies, or say None',
      cel: "self.certificateHeader == 'None' || has(self.trustedHops)",
      holds: ({ certificateHeader, trustedHops }) =>
        certificateHeader === 'None' || trustedHops !== undefined,
      at: 'certificateHeader',
    },
  )
}
