// Arguments and environment as the injection writes them: a complete configuration, or every problem with what to do.
import { beforeAll, expect, test } from 'vitest'
import { asksForInjection, type InjectedConfig, parseInjected } from '../../sidecar/config-injected.ts'
import { type Authority, createAuthority, serverCredential } from './identity/authority.ts'

let authority: Authority
let leafPem = ''
beforeAll(async () => {
  authority = await createAuthority('cluster.example')
  leafPem = (await serverCredential(authority, 'spiffe://cluster.example/x')).chainPem
})

const ARGS = {
  '--feed': 'portcullis-control.portcullis-system.svc:8443',
  '--issuer': 'portcullis-issuer.portcullis-system.svc:8444',
  '--trust-domain': 'cluster.example',
  '--audience': 'portcullis.dev/cluster.example',
  '--decision-log': 'On',
  '--check-port': '7070',
  '--admin-port': '9090',
} as const
type Args = Partial<Record<keyof typeof ARGS, string | undefined>>

const env = (): Record<string, string | undefined> => ({
  POD_UID: '9b2c1f3e-0000-4000-8000-000000000001',
  POD_NAME: 'web-6d4cf56db6-x2x7q',
  POD_NAMESPACE: 'shop',
  POD_SERVICE_ACCOUNT: 'web',
  POD_IP: '10.244.0.17',
  PORTCULLIS_TRUST_ANCHORS: authority.rootPem,
})

const line = (change: Args = {}): readonly string[] => [
  '--injected',
  ...Object.entries({ ...ARGS, ...change }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  ),
]
const parse = (change: Args = {}, more: Record<string, string | undefined> = {}) =>
  parseInjected(line(change), { ...env(), ...more })
const problemsOf = (result: ReturnType<typeof parseInjected>) => (result.ok ? [] : result.problems)
function configOf(result: ReturnType<typeof parseInjected>): InjectedConfig {
  if (!result.ok) throw new Error(result.problems.join('\n'))
  return result.config
}

test('what the injection writes is a complete configuration, with fixed places', () => {
  const config = configOf(parse())
  expect(config).toMatchObject({
    unix: { path: '/run/portcullis/check.sock', mode: 0o666, directoryMode: undefined },
    tcp: { host: '127.0.0.1', port: 7070 },
    admin: { host: '10.244.0.17', port: 9090 },
    workloadApi: { path: '/run/spiffe/workload.sock', mode: 0o666, directoryMode: undefined },
    logDecisions: true,
    identity: {
      trustDomain: 'cluster.example',
      audience: 'portcullis.dev/cluster.example',
      feed: { host: 'portcullis-control.portcullis-system.svc', port: 8443 },
      issuer: { host: 'portcullis-issuer.portcullis-system.svc', port: 8444 },
      tokenFile: '/var/run/secrets/portcullis/token',
      anchorsFile: '/run/portcullis/anchors.pem',
      pod: { namespace: 'shop', name: 'web-6d4cf56db6-x2x7q', serviceAccount: 'web' },
    },
  })
  expect(config.identity.anchors).toEqual([authority.root])
  expect(config.limits).toMatchObject({ inFlight: 1024, deadlineMs: 5000 })
})

test.each([
  ['[fd00::7]:8443', { host: 'fd00::7', port: 8443 }],
  ['10.0.0.7:1', { host: '10.0.0.7', port: 1 }],
])('the feed may be %s', (feed, endpoint) => {
  expect(configOf(parse({ '--feed': feed })).identity.feed).toEqual(endpoint)
})

test('a pod with an IPv6 address serves its health there, and Off switches the decision log off', () => {
  const config = configOf(parse({ '--decision-log': 'Off' }, { POD_IP: 'fd00::17' }))
  expect(config.admin.host).toBe('fd00::17')
  expect(config.logDecisions).toBe(false)
})

test('several anchors may come together, as in a rotation', async () => {
  const other = await createAuthority('cluster.example')
  const both = `${authority.rootPem}\n${other.rootPem}\n`
  expect(configOf(parse({}, { PORTCULLIS_TRUST_ANCHORS: both })).identity.anchors).toHaveLength(2)
})

test('all problems are told at once', () => {
  const problems = problemsOf(parseInjected(['--injected'], {}))
  const places = problems.map((one) => one.split(': ', 1)[0])
  expect(places).toEqual([
    '--feed',
    '--issuer',
    '--trust-domain',
    '--audience',
    '--decision-log',
    '--check-port',
    '--admin-port',
    'POD_UID',
    'POD_NAME',
    'POD_NAMESPACE',
    'POD_SERVICE_ACCOUNT',
    'POD_IP',
    'PORTCULLIS_TRUST_ANCHORS',
  ])
  expect(problems.every((one) => one.includes(': required: '))).toBe(true)
})

test.each<readonly [change: Args, problem: RegExp]>([
  [{ '--feed': 'nowhere' }, /^--feed: must be HOST:PORT/],
  [{ '--feed': 'https://x:1' }, /^--feed: must be HOST:PORT/],
  [{ '--feed': 'x:0' }, /^--feed: must be HOST:PORT/],
  [{ '--feed': 'x:65536' }, /^--feed: must be HOST:PORT/],
  [{ '--issuer': '[::g]:1' }, /^--issuer: must be HOST:PORT/],
  [{ '--trust-domain': 'Cluster.Example' }, /^--trust-domain: must be lower case/],
  [{ '--trust-domain': 'a/b' }, /^--trust-domain: must be lower case/],
  [{ '--audience': 'a'.repeat(513) }, /^--audience: longer than 512/],
  [{ '--decision-log': 'on' }, /^--decision-log: must be On or Off/],
  [{ '--check-port': '70700' }, /^--check-port: must be a port/],
  [{ '--admin-port': '-1' }, /^--admin-port: (must be a port|required)/],
])('%j is refused: %s', (change, problem) => {
  const problems = problemsOf(parse(change))
  expect(
    problems.filter((one) => problem.test(one)),
    problems.join('\n'),
  ).toHaveLength(1)
})

test.each<readonly [change: Record<string, string | undefined>, problem: RegExp]>([
  [{ POD_UID: undefined }, /^POD_UID: required: set it from fieldRef metadata\.uid/],
  [{ POD_UID: 'a\nb' }, /^POD_UID: must be what fieldRef/],
  [{ POD_NAME: '../x' }, /^POD_NAME: must be what fieldRef/],
  [{ POD_IP: '10.0.0' }, /^POD_IP: must be an IP address/],
  [{ PORTCULLIS_TRUST_ANCHORS: 'x' }, /^PORTCULLIS_TRUST_ANCHORS: holds 0 certificates/],
  [{ PORTCULLIS_TRUST_ANCHORS: 'x'.repeat(70_000) }, /^PORTCULLIS_TRUST_ANCHORS: longer than/],
])('%j is refused: %s', (change, problem) => {
  const problems = problemsOf(parse({}, change))
  expect(
    problems.filter((one) => problem.test(one)),
    problems.join('\n'),
  ).toHaveLength(1)
})

test('an anchor that is no authority, and anything beside certificates, is refused without being shown', () => {
  expect(problemsOf(parse({}, { PORTCULLIS_TRUST_ANCHORS: leafPem }))).toEqual([
    expect.stringMatching(/certificate 1 is not a CA certificate; .*recreate the pod/),
  ])
  const key = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----'
  const problems = problemsOf(parse({}, { PORTCULLIS_TRUST_ANCHORS: `${authority.rootPem}\n${key}` }))
  expect(problems).toEqual([expect.stringMatching(/holds something besides certificates/)])
  expect(problems.join()).not.toContain('c2VjcmV0')
})

test.each([
  [['--config', '/etc/x.yaml'], /^--config: unknown with --injected; known here: --feed, --issuer/],
  [['extra'], /^extra: unknown with --injected/],
  [['--feed', 'x:1'], /^--feed: given twice/],
  [['--feeed=x'], /^--feeed: unknown/],
])('%j on top is refused', (more, problem) => {
  const problems = problemsOf(parseInjected([...line(), ...more], env()))
  expect(
    problems.filter((one) => problem.test(one)),
    problems.join('\n'),
  ).toHaveLength(1)
})

test('only the flag asks for injected mode', () => {
  expect(asksForInjection(line())).toBe(true)
  expect(asksForInjection(['--config', 'injected'])).toBe(false)
})
