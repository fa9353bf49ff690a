// One file and a few environment variables: a complete configuration, or every problem with path, what and what to do.
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { configPath, parseConfig, readConfig } from '../../sidecar/config.ts'
import { NO_TERMS } from '../fixtures/terms.ts'
import { configOf, GOOD, ISSUER, parse, problemsOf, type Tree } from './configs.ts'

test('the smallest configuration is completed with safe defaults', () => {
  expect(configOf({ client: undefined })).toEqual({
    unix: { path: '/base/run/check.sock', mode: 0o660, directoryMode: 0o750 },
    tcp: undefined,
    admin: { host: '127.0.0.1', port: 9090 },
    trust: {
      audience: 'https://api.example',
      exclusiveAudience: false,
      maxTokenLifetimeS: 3600,
      issuers: [
        {
          issuer: 'https://idp.example',
          algorithms: new Set(['RS256']),
          location: { kind: 'uri', uri: 'https://idp.example/jwks' },
          insecureLoopback: false,
          privateAddresses: false,
          refreshMs: 300_000,
          skewS: 60,
          tenant: { $case: 'fixedTenant', fixedTenant: 'acme' },
          terms: NO_TERMS,
        },
      ],
      tokens: undefined,
      routes: [],
      policyPath: '/base/bundle',
      jwksStaleMs: 86_400_000,
      client: undefined,
    },
    limits: expect.objectContaining({
      inFlight: 1024,
      deadlineMs: 1000,
      requestBytes: 65_536,
      streamWindow: 64,
    }),
    logDecisions: true,
  })
})

test('a configuration is frozen to the bottom', () => {
  const config = configOf()
  const objects = [
    config,
    config.unix,
    config.admin,
    config.trust,
    config.trust.issuers,
    config.trust.issuers[0],
    config.limits,
  ]
  expect(objects.every((one) => Object.isFrozen(one))).toBe(true)
})

const issuer = (change: Tree): Tree => ({ issuers: [{ ...ISSUER, ...change }] })

test('all problems are told at once', () => {
  const problems = problemsOf(
    parse({
      version: 3,
      listn: {},
      listen: { tcp: '0.0.0.0:1' },
      issuers: [{ issuer: 7 }],
      limits: { drainSeconds: 999 },
    }),
  )
  const paths = problems.map((one) => one.split(': ', 1)[0])
  expect(paths).toEqual(
    expect.arrayContaining([
      'listn',
      'version',
      'listen.tcp',
      'audience',
      'limits.drainSeconds',
      'issuers[0].issuer',
      'issuers[0].algorithms',
      'issuers[0].jwks',
      'issuers[0].tenant',
      'policy.path',
    ]),
  )
})

test.each<readonly [what: string, text: string]>([
  ['a tab for a blank', 'version:\t1\n\tlisten: x'],
  ['a brace that does not close', 'listen: {'],
  ['the same key twice', 'version: 1\nversion: 1'],
  ['the same key twice inside', 'listen:\n  unix: a\n  unix: b'],
  ['two documents', 'version: 1\n---\nversion: 1'],
  ['an alias that is not defined', 'listen: *nothing'],
  ['an unknown tag', 'listen: !!js/function "x"'],
])('%s is a problem of the file', (_what, text) => {
  const problems = problemsOf(parseConfig(text, {}, '/'))
  expect(problems.length).toBeGreaterThan(0)
  expect(
    problems.every((one) => one.startsWith('YAML: ')),
    problems.join('\n'),
  ).toBe(true)
})

test('a bomb of aliases is refused, not unpacked', () => {
  const layers = Array.from(
    { length: 12 },
    (_, index) =>
      `a${index}: &a${index} [${Array(10)
        .fill(index ? `*a${index - 1}` : 'x')
        .join()}]`,
  )
  expect(problemsOf(parseConfig(layers.join('\n'), {}, '/'))).toEqual([
    expect.stringMatching(/^YAML: .*alias/),
  ])
})

test('an alias or two are fine', () => {
  const text = `${stringify({ ...GOOD, issuers: undefined })}issuers:\n  - issuer: &i https://idp.example\n    jwks: { uri: *i }\n    algorithms: [RS256]\n    tenant: { fixed: a }\n`
  expect(problemsOf(parseConfig(text, {}, '/'))).toEqual([])
})

test.each(['', '# nothing', 'null', '7', '[]', 'text'])(
  'a file that holds %j gives problems, not an exception',
  (text) => {
    expect(problemsOf(parseConfig(text, {}, '/')).length).toBeGreaterThan(0)
  },
)

test.each(['127.0.0.1:0', '[::1]:8181'])('listening on %s is fine', (tcp) => {
  expect(configOf({ listen: { tcp } }).tcp).toEqual({
    host: tcp.includes('::1') ? '::1' : '127.0.0.1',
    port: Number(tcp.split(':').at(-1)),
  })
})

test('plain http to loopback is possible, when it is said aloud', () => {
  const change = issuer({ jwks: { uri: 'http://127.0.0.1:9/jwks' }, allowInsecureLoopback: true })
  expect(configOf(change).trust.issuers[0]).toMatchObject({ insecureLoopback: true })
})

test.each([
  ['https://idp.example', 'https://idp.example/.well-known/openid-configuration'],
  ['https://idp.example/', 'https://idp.example/.well-known/openid-configuration'],
  ['https://idp.example/realms/a', 'https://idp.example/realms/a/.well-known/openid-configuration'],
])('keys of %s are discovered at %s', (name, uri) => {
  expect(configOf(issuer({ issuer: name, jwks: { discovery: true } })).trust.issuers[0]?.location).toEqual({
    kind: 'discovery',
    uri,
  })
})

test('the environment says where things are, over the file', () => {
  const env = {
    PORTCULLIS_LISTEN_UNIX: '/env/check.sock',
    PORTCULLIS_LISTEN_TCP: '127.0.0.1:1234',
    PORTCULLIS_ADMIN_LISTEN: '0.0.0.0:4321',
    PORTCULLIS_POLICY_PATH: '/env/bundle',
  }
  const config = configOf({}, env)
  expect(config.unix?.path).toBe('/env/check.sock')
  expect(config.tcp).toEqual({ host: '127.0.0.1', port: 1234 })
  expect(config.admin).toEqual({ host: '0.0.0.0', port: 4321 })
  expect(config.trust.policyPath).toBe('/env/bundle')
})

test('the environment is held to the same rules, and an empty variable is none', () => {
  expect(problemsOf(parse(GOOD, { PORTCULLIS_LISTEN_TCP: '0.0.0.0:1' }))).toEqual([
    'listen.tcp: must be 127.0.0.1:PORT or [::1]:PORT; checks are never answered to other hosts',
  ])
  expect(configOf({}, { PORTCULLIS_LISTEN_TCP: '', PORTCULLIS_POLICY_PATH: '' }).tcp).toBeUndefined()
})

test('the environment cannot say what is believed', () => {
  const env = { PORTCULLIS_AUDIENCE: 'x', PORTCULLIS_ISSUERS: 'x', PORTCULLIS_LIMITS_DEADLINEMS: '5' }
  expect(configOf({}, env)).toEqual(configOf())
})

test('the file is the argument, else the variable, else the usual place', () => {
  const env = { PORTCULLIS_CONFIG: '/env.yaml' }
  expect(configPath('/arg.yaml', env)).toBe('/arg.yaml')
  expect(configPath(undefined, env)).toBe('/env.yaml')
  expect(configPath(undefined, {})).toBe('/etc/portcullis/config.yaml')
})

test('a file that cannot be read is a problem that says what to do', () => {
  expect(problemsOf(readConfig('/nowhere/x.yaml', {}))).toEqual([
    '/nowhere/x.yaml: cannot be read (ENOENT); give --config FILE or set PORTCULLIS_CONFIG',
  ])
  expect(problemsOf(readConfig('/', {}))[0]).toContain('EISDIR')
})
