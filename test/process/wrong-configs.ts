import type { Tree } from '../fixtures/sidecar.ts'

// What is wrong, and the words that say where and what to do.
export const WRONG: readonly (readonly [what: string, over: Tree, said: RegExp])[] = [
  ['no version', { version: undefined }, /version: required: 1/],
  ['another version', { version: 2 }, /version: required: 1/],
  ['no audience', { audience: undefined }, /audience: required/],
  ['an empty audience', { audience: '' }, /audience: must be text/],
  ['a list as audience', { audience: ['a'] }, /audience: must be text/],
  ['no listener', { listen: {} }, /listen: required: "unix".*"tcp"/],
  ['every address', { listen: { tcp: '0.0.0.0:8181' } }, /listen\.tcp: must be 127\.0\.0\.1:PORT/],
  ['an address of the network', { listen: { tcp: '10.0.0.1:8181' } }, /listen\.tcp: must be 127\.0\.0\.1/],
  ['a name as address', { listen: { tcp: 'localhost:8181' } }, /listen\.tcp: must be an IP address/],
  ['a port that is none', { listen: { tcp: '127.0.0.1:70000' } }, /listen\.tcp: must be/],
  [
    'a socket path too long',
    { listen: { unix: `/${'x'.repeat(120)}` } },
    /listen\.unix: longer than 107 bytes/,
  ],
  ['a mode as a number', { listen: { unix: 'a.sock', mode: 660 } }, /listen\.mode: must be an octal.*"0660"/],
  ['a mode that is none', { listen: { unix: 'a.sock', mode: '0999' } }, /listen\.mode: must be an octal/],
  ['an unknown member', { listem: {} }, /listem: unknown; did you mean "listen"\?/],
  ['an unknown limit', { limits: { infinite: 1 } }, /limits\.infinite: unknown; known here: inFlight/],
  [
    'a limit out of bounds',
    { limits: { streamWindow: 129 } },
    /limits\.streamWindow: must be .* from 1 to 128/,
  ],
  ['a limit as text', { limits: { inFlight: '10' } }, /limits\.inFlight: must be a whole number/],
  ['a fraction as limit', { limits: { inFlight: 1.5 } }, /limits\.inFlight: must be a whole number/],
  ['no issuer', { issuers: [] }, /issuers: required: a list/],
  ['issuers as text', { issuers: 'https://x' }, /issuers: required: a list/],
  ['an issuer as text', { issuers: ['https://x'] }, /: expected a mapping/],
  ['no policy', { policy: undefined }, /policy\.path: required/],
  ['a flag as text', { exclusiveAudience: 'yes' }, /exclusiveAudience: must be true or false/],
  ['a log level', { log: { level: 'debug' } }, /log\.level: unknown/],
  ['an admin name', { admin: { listen: 'localhost' } }, /admin\.listen: must be an IP address/],
]

export const WRONG_ISSUERS: readonly (readonly [what: string, over: Tree, said: RegExp])[] = [
  ['without a name', { issuer: undefined }, /\.issuer: required/],
  ['with HMAC', { algorithms: ['HS256'] }, /\.algorithms: unknown or forbidden algorithm; known: .*no HMAC/],
  ['with none', { algorithms: ['none'] }, /\.algorithms: unknown or forbidden/],
  ['without algorithms', { algorithms: [] }, /\.algorithms: required/],
  ['without keys', { jwks: {} }, /\.jwks: required: exactly one of/],
  ['with two places for keys', { jwks: { file: 'a', uri: 'https://a/' } }, /\.jwks: .*exactly one of/],
  ['with keys over plain http', { jwks: { uri: 'http://idp/jwks' } }, /\.jwks: must use https/],
  ['with keys at no URL', { jwks: { uri: 'idp' } }, /\.jwks\.uri: must be a URL/],
  ['with discovery of no URL', { issuer: 'acme', jwks: { discovery: true } }, /\.jwks: .*not a URL/],
  ['with too much skew', { skewSeconds: 301 }, /\.skewSeconds: must be .* from 0 to 300/],
  ['without a tenant', { tenant: {} }, /\.tenant: required: either/],
  ['with two tenants', { tenant: { fixed: 'a', claim: 'b' } }, /\.tenant: required: either/],
  ['with any tenant', { tenant: { claim: 'tenant' } }, /\.tenant\.allowed: required/],
]
