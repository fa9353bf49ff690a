// Every rule of the configuration: where its breach is told and what is said to do.
import { expect, test } from 'vitest'
import { GOOD, ISSUER, parse, problemsOf, type Tree } from './configs.ts'

const issuer = (change: Tree): Tree => ({ issuers: [{ ...ISSUER, ...change }] })
const listen = (change: unknown): Tree => ({ listen: change })
const tenants = (count: number) => Array.from({ length: count }, (_, index) => `t${index}`)
const named = (count: number) =>
  tenants(count).map((name) => ({ ...ISSUER, issuer: `https://${name}.example` }))
const REQUIRED = 'required: '
const LOOPBACK = 'must be 127.0.0.1:PORT or [::1]:PORT; checks are never answered to other hosts'
const ADDRESS = 'must be an IP address and port, such as 127.0.0.1:9090 or [::1]:9090'
const ONE_OF = 'required: exactly one of "file", "uri", "discovery: true"'
const TENANT = 'required: either "fixed: NAME", or "claim: NAME" with "allowed: [NAMES]"'
const ALGORITHM = 'unknown or forbidden algorithm; known: '
const HTTPS = 'must use https; plain http is for loopback only, with allowInsecureLoopback: true'

test.each<readonly [change: Tree, path: string, what: string]>([
  [{ version: undefined }, 'version', 'required: 1'],
  [{ version: 2 }, 'version', 'required: 1'],
  [{ version: '1' }, 'version', 'required: 1'],
  [{ audience: undefined }, 'audience', REQUIRED],
  [{ audience: '' }, 'audience', 'must be text'],
  [{ audience: ['a'] }, 'audience', 'must be text'],
  [{ audience: 'a'.repeat(513) }, 'audience', 'longer than 512 characters'],
  [
    { limits: { jwksRefreshSeconds: 300, jwksStaleSeconds: 599 } },
    'limits.jwksStaleSeconds',
    'must be at least twice jwksRefreshSeconds',
  ],
  [
    issuer({ jwks: { uri: 'https://u:p@idp.example/jwks' } }),
    'issuers[0].jwks.uri',
    'must not hold a user or password',
  ],
  [issuer({ jwks: { uri: 'ftp://127.0.0.1/jwks' }, allowInsecureLoopback: true }), 'issuers[0].jwks', HTTPS],
  [{ exclusiveAudience: 'yes' }, 'exclusiveAudience', 'must be true or false'],
  [{ listen: undefined }, 'listen', REQUIRED],
  [listen({}), 'listen', REQUIRED],
  [listen('run/check.sock'), 'listen', 'expected a mapping'],
  [listen({ unix: 'run/a', credentials: 'run/b' }), 'listen.credentials', 'needs a directory of its own'],
  [
    listen({ unix: 'run/a', credentials: `c/${'x'.repeat(120)}` }),
    'listen.credentials',
    'longer than 107 bytes',
  ],
  [listen({ unix: 7 }), 'listen.unix', 'must be text'],
  [listen({ unix: '/x'.repeat(60) }), 'listen.unix', 'longer than 107 bytes, which the kernel cannot bind'],
  [listen({ unix: 'a', mode: 660 }), 'listen.mode', 'must be an octal file mode in quotes'],
  [listen({ unix: 'a', mode: '0999' }), 'listen.mode', 'must be an octal file mode in quotes'],
  [
    listen({ unix: 'a', directoryMode: '7777' }),
    'listen.directoryMode',
    'must be an octal file mode in quotes',
  ],
  [listen({ tcp: '0.0.0.0:8181' }), 'listen.tcp', LOOPBACK],
  [listen({ tcp: '[::]:8181' }), 'listen.tcp', LOOPBACK],
  [listen({ tcp: '10.0.0.1:8181' }), 'listen.tcp', LOOPBACK],
  [listen({ tcp: '127.0.0.2:8181' }), 'listen.tcp', LOOPBACK],
  [listen({ tcp: '[::ffff:127.0.0.1]:8181' }), 'listen.tcp', 'must be'],
  [listen({ tcp: 'localhost:8181' }), 'listen.tcp', ADDRESS],
  [listen({ tcp: '127.0.0.1' }), 'listen.tcp', ADDRESS],
  [listen({ tcp: '127.0.0.1:65536' }), 'listen.tcp', ADDRESS],
  [listen({ tcp: 8181 }), 'listen.tcp', ADDRESS],
  [{ admin: { listen: 'localhost:9090' } }, 'admin.listen', ADDRESS],
  [{ policy: undefined }, 'policy.path', REQUIRED],
  [{ policy: 'bundle' }, 'policy', 'expected a mapping'],
  [{ log: { decisions: 'on' } }, 'log.decisions', 'must be true or false'],
  [{ issuers: undefined }, 'issuers', REQUIRED],
  [{ issuers: [] }, 'issuers', REQUIRED],
  [{ issuers: ISSUER }, 'issuers', REQUIRED],
  [{ issuers: ['https://idp.example'] }, 'issuers[0]', 'expected a mapping'],
  [{ issuers: [ISSUER, ISSUER] }, 'issuers[1].issuer', 'given twice; merge the two entries'],
  [issuer({ issuer: undefined }), 'issuers[0].issuer', REQUIRED],
  [issuer({ issuer: 'i'.repeat(513) }), 'issuers[0].issuer', 'longer than 512 characters'],
  [issuer({ algorithms: undefined }), 'issuers[0].algorithms', REQUIRED],
  [issuer({ algorithms: [] }), 'issuers[0].algorithms', REQUIRED],
  [issuer({ algorithms: 'RS256' }), 'issuers[0].algorithms', REQUIRED],
  [issuer({ algorithms: ['HS256'] }), 'issuers[0].algorithms', ALGORITHM],
  [issuer({ algorithms: ['none'] }), 'issuers[0].algorithms', ALGORITHM],
  [issuer({ algorithms: ['rs256'] }), 'issuers[0].algorithms', ALGORITHM],
  [issuer({ algorithms: [256] }), 'issuers[0].algorithms', ALGORITHM],
  [
    issuer({ skewSeconds: 301 }),
    'issuers[0].skewSeconds',
    'must be a whole number from 0 to 300 (default 60)',
  ],
  [issuer({ skewSeconds: -1 }), 'issuers[0].skewSeconds', 'must be a whole number from 0 to 300'],
  [issuer({ skewSeconds: 0.5 }), 'issuers[0].skewSeconds', 'must be a whole number from 0 to 300'],
  [issuer({ skewSeconds: '60' }), 'issuers[0].skewSeconds', 'must be a whole number from 0 to 300'],
  [issuer({ jwks: undefined }), 'issuers[0].jwks', ONE_OF],
  [issuer({ jwks: {} }), 'issuers[0].jwks', ONE_OF],
  [issuer({ jwks: { file: 'a', uri: 'https://x' } }), 'issuers[0].jwks', ONE_OF],
  [issuer({ jwks: { uri: 'jwks.json' } }), 'issuers[0].jwks.uri', 'must be a URL'],
  [issuer({ jwks: { discovery: false } }), 'issuers[0].jwks.discovery', 'must be text'],
  [issuer({ jwks: { uri: 'http://idp.example/jwks' } }), 'issuers[0].jwks', HTTPS],
  [issuer({ issuer: 'http://idp.example', jwks: { discovery: true } }), 'issuers[0].jwks', HTTPS],
  [issuer({ issuer: 'idp', jwks: { discovery: true } }), 'issuers[0].jwks', 'the issuer is not a URL'],
  [issuer({ tenant: undefined }), 'issuers[0].tenant', TENANT],
  [issuer({ tenant: 'acme' }), 'issuers[0].tenant', 'expected a mapping'],
  [issuer({ tenant: { fixed: 'a', claim: 'b' } }), 'issuers[0].tenant', TENANT],
  [issuer({ tenant: { fixed: 'a', allowed: ['b'] } }), 'issuers[0].tenant', TENANT],
  [issuer({ tenant: { fixed: '' } }), 'issuers[0].tenant.fixed', 'must be text'],
  [issuer({ tenant: { claim: 'org' } }), 'issuers[0].tenant.allowed', REQUIRED],
  [
    issuer({ tenant: { claim: 'org', allowed: [7] } }),
    'issuers[0].tenant.allowed',
    'each tenant must be text',
  ],
  [
    { limits: { deadlineMs: 0 } },
    'limits.deadlineMs',
    'must be a whole number from 1 to 60000 (default 1000)',
  ],
  [
    { limits: { requestBytes: 2_000_000 } },
    'limits.requestBytes',
    'must be a whole number from 1024 to 1048576',
  ],
  [
    { limits: { jwksRefreshSeconds: 901 } },
    'limits.jwksRefreshSeconds',
    'must be a whole number from 10 to 900',
  ],
  [{ limits: [] }, 'limits', 'expected a mapping'],
])('%j is told at %s: %s', (change, path, what) => {
  const problems = problemsOf(parse({ ...GOOD, ...change }))
  expect(
    problems.filter((one) => one.startsWith(`${path}: ${what}`)),
    problems.join('\n'),
  ).toHaveLength(1)
})

// Otherwise --check would call a file good that trust/snapshot.ts then refuses for ever.
test('what a snapshot may not hold, a configuration may not either; what it may, it may', () => {
  const sizes = ([issuers, allowed]: readonly [number, number]) =>
    problemsOf(
      parse({
        ...GOOD,
        issuers: named(issuers).map((one) => ({
          ...one,
          tenant: { claim: 'org', allowed: tenants(allowed) },
        })),
      }),
    )
  expect(sizes([32, 1])).toEqual([])
  expect(sizes([1, 10_000])).toEqual([])
  expect(sizes([33, 1])).toEqual([expect.stringMatching(/^issuers: .*32/)])
  expect(sizes([1, 10_001])).toEqual([expect.stringMatching(/^issuers\[0\]\.tenant.*10\D?000/)])
})

test.each<readonly [change: Tree, problem: string]>([
  [{ audiance: 'x' }, 'audiance: unknown; did you mean "audience"?'],
  [{ Audience: 'x' }, 'Audience: unknown; did you mean "audience"?'],
  [{ aud: 'x' }, 'aud: unknown; known here: version, listen, admin, audience'],
  [{ ['__proto__x']: 1 }, '__proto__x: unknown'],
  [listen({ unix: 'a', unx: 'b' }), 'listen.unx: unknown; did you mean "unix"?'],
  [issuer({ algorithm: ['RS256'] }), 'issuers[0].algorithm: unknown; did you mean "algorithms"?'],
  [issuer({ jwks: { url: 'https://x' } }), 'issuers[0].jwks.url: unknown; did you mean "uri"?'],
  [issuer({ tenant: { fixed: 'a', claims: 1 } }), 'issuers[0].tenant.claims: unknown; did you mean "claim"?'],
  [issuer({ skew: 5 }), 'issuers[0].skew: unknown; known here: issuer, jwks'],
  [{ limits: { inflight: 5 } }, 'limits.inflight: unknown; did you mean "inFlight"?'],
  [{ admin: { listn: 'x' } }, 'admin.listn: unknown; did you mean "listen"?'],
])('an unknown key is an error with a suggestion: %j', (change, problem) => {
  expect(problemsOf(parse({ ...GOOD, ...change })).filter((one) => one.startsWith(problem))).toHaveLength(1)
})
