import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { type Credential, forgeSvid } from './forge.ts'
import { hostileImage } from './hostile-image.ts'
import { addressOf, injectedPod, openInstalled, rotationOf } from './installed.ts'
import { eventsOf, type ProbeLine, probeLines } from './probe.ts'
import { createTable } from './table.ts'
import { eventually, NAMESPACE, post, SYSTEM, TRUST_DOMAIN, type World } from './world.ts'

// Identity as a workload gets it, with a client that knows nothing but the SPIFFE standards, while the authority changes; and an
// application that has been taken over and wants more than it was given. One world: the calls go on behind everything else.

const reason = notRun('e2e', 'identity.test.ts', clusterUnavailable())
const table = createTable('Identity')
const CONTROL = `portcullis-control.${SYSTEM}.svc:8443`
const ISSUER = `portcullis-issuer.${SYSTEM}.svc:8444`
const own = (account: string) => `spiffe://${TRUST_DOMAIN}/ns/${NAMESPACE}/sa/${account}`

let world: World

describe.skipIf(reason)('identity on a real cluster', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    world = await openInstalled('e2e-identity', ['trust.svidTTL=5m', 'trust.jwtTTL=1m'])
    const hostile = hostileImage()
    await world.cluster.importImage(hostile.archive)
    await world.apply(accounts())
    const probe = world.images.probe.pinned
    const rotating = ['--trust-domain', TRUST_DOMAIN]
    await world.apply(
      [
        injectedPod({ name: 'serve', image: probe, args: ['serve', ...rotating], serviceAccount: 'server' }),
        injectedPod({ name: 'hostile', image: hostile.pinned, serviceAccount: 'hostile' }),
      ].join('---'),
    )
    const server = await addressOf(world, 'serve')
    const calls = [
      'call',
      `https://${server}:8443/`,
      '--count',
      '0',
      '--timeout',
      '30s',
      '--expect',
      own('server'),
    ]
    await world.apply(
      injectedPod({
        name: 'call',
        image: probe,
        args: [...calls, '--interval', '100ms'],
        serviceAccount: 'caller',
      }),
    )
    await addressOf(world, 'call')
  }, 900_000)
  afterAll(async () => {
    table.print()
    await world?.[Symbol.asyncDispose]()
  }, 120_000)

  describe('go-spiffe', () => {
    test('two pods do mutual TLS with their SVIDs', async () => {
      await eventually('ten calls', async () => ((await called()).ok >= 10 ? undefined : 'fewer'))
      const { failed, peers } = await called()
      expect({ failed, peers }).toEqual({ failed: 0, peers: [own('server')] })
    })

    test('a second identity with its hint, bundles, and JWT-SVIDs that validate', async () => {
      await world.apply(`
apiVersion: portcullis.dev/v1alpha1
kind: WorkloadIdentity
metadata: { name: billing, namespace: ${NAMESPACE} }
spec:
  selector: { matchLabels: { role: fetch } }
  path: /ns/{namespace}/billing/{serviceAccount}
  hint: billing
`)
      const lines = await fetched()
      const billing = `spiffe://${TRUST_DOMAIN}/ns/${NAMESPACE}/billing/fetcher`
      expect(eventsOf(lines, 'error')).toEqual([])
      expect(eventsOf(lines, 'x509_svid').map(({ id, hint }) => [id, hint])).toEqual([
        [own('fetcher'), ''],
        [billing, 'billing'],
      ])
      expect(eventsOf(lines, 'x509_verified').map(({ id }) => id)).toEqual([own('fetcher'), billing])
      expect(eventsOf(lines, 'x509_bundle').map(({ trustDomain }) => trustDomain)).toEqual([TRUST_DOMAIN])
      const [jwt] = eventsOf(lines, 'jwt_svid')
      expect([jwt?.id, jwt?.audience]).toEqual([own('fetcher'), ['https://orders.example']])
      expect(eventsOf(lines, 'jwt_validated').map(({ id }) => id)).toEqual([own('fetcher')])
      // The active key and its standby.
      expect(eventsOf(lines, 'jwt_bundle').map(({ keys }) => keys)).toEqual([2])
      table.row(
        'go-spiffe: all five methods',
        undefined,
        '2 identities, 1 hint; JWT-SVID validated here and there',
      )
    })
  })

  test('the authority is rotated: both sides come under the new root, no call fails', async () => {
    await world.apply(`
apiVersion: portcullis.dev/v1alpha1
kind: KeyRotation
metadata: { name: ca }
spec: { trustDomain: ${TRUST_DOMAIN}, use: X509CA, action: Rotate }
`)
    const took = await eventually('the new root signs', async () => {
      const { phase = '', verifiers } = await rotationOf(world, 'ca')
      return ['Active', 'Retiring', 'Complete'].includes(phase)
        ? undefined
        : `${phase} ${JSON.stringify(verifiers)}`
    })
    const { steps = [], verifiers } = await rotationOf(world, 'ca')
    const activated = Date.parse(steps.find(({ step }) => step === 'activate')?.at ?? '')
    expect(activated).toBeGreaterThan(0)
    table.row(
      'KeyRotation X509CA: activated',
      took,
      `${verifiers?.acknowledged}/${verifiers?.total} verifiers`,
    )
    // SVIDs live for five minutes and are renewed at half of that.
    const renewed = await eventually(
      'an SVID of the server under the new root',
      async () => {
        const last = eventsOf(await probeLines(world, 'serve'), 'svid').at(-1)
        // notBefore lies a little before the signing.
        return Date.parse(last?.notBefore ?? '') > activated ? undefined : `newest of ${last?.notBefore}`
      },
      240_000,
    )
    await eventually(
      'a renewal on both sides',
      async () => {
        const { serials, peerSerials } = await called()
        return serials > 1 && peerSerials > 1 ? undefined : `${serials} and ${peerSerials} serials`
      },
      240_000,
    )
    const { ok, failed, serials, peerSerials } = await called()
    expect(failed).toBe(0)
    table.row(
      'renewed under the new root',
      renewed,
      `${ok} calls, 0 failed; ${serials} and ${peerSerials} certificates on the two sides`,
    )
  }, 600_000)

  describe('a hostile application', () => {
    test('is an ordinary one: another user than the sidecar, and its own SVID is good', async () => {
      const { uid } = await tries<{ uid: number }>({ attempt: 'identity' })
      expect(uid).toBe(65532)
      expect((await tries<Credential>({ attempt: 'svid' })).chain).toMatch(/BEGIN CERTIFICATE/)
    })

    test('opens no feed: without a certificate, with its SVID, with one that it forged', async () => {
      const { uid } = (await world.get('pod', 'hostile', NAMESPACE)).metadata
      const control = `spiffe://${TRUST_DOMAIN}/portcullis/pod/${uid}`
      const svid = await tries<Credential>({ attempt: 'svid' })
      const feed = (credential?: 'svid' | Credential) =>
        tries<string>({ attempt: 'feed', target: CONTROL, ...(credential && { credential }) })
      expect(await tries({ attempt: 'handshake', target: CONTROL })).toMatch(/^CLOSED/)
      expect(await feed()).toMatch(/^UNAVAILABLE: /)
      // It is let in as far as its name is read, so the others are refused and not lost on the way.
      expect(await feed('svid')).toBe('UNAUTHENTICATED: not the control SVID of a pod')
      expect(await feed(forgeSvid(control))).toMatch(/^UNAVAILABLE: /)
      expect(await feed(forgeSvid(control, svid))).toMatch(/^UNAVAILABLE: /)
    })

    test('its acknowledgements count for nothing', async () => {
      const before = await programmed()
      await tries({ attempt: 'feed', target: CONTROL, credential: 'svid' })
      const conditions = await eventsOfTrustDomain()
      expect(await programmed()).toEqual(before)
      expect(conditions).not.toContain('StateRolledBack')
    })

    test.each([
      ['report-shard', 'PERMISSION_DENIED'],
      ['refresh-keys', 'PERMISSION_DENIED'],
    ])('is no replica of the operator: %s', async (attempt, code) => {
      expect(await tries({ attempt, target: CONTROL, credential: 'svid' })).toMatch(new RegExp(`^${code}: `))
    })

    test.each([
      ['issue-workload', undefined, 'UNAUTHENTICATED: client_missing'],
      ['issue-jwt', undefined, 'UNAUTHENTICATED: client_missing'],
      ['sign-bundle', undefined, 'UNAUTHENTICATED: client_missing'],
      ['issue-workload', 'svid', 'PERMISSION_DENIED: client_identity'],
      ['issue-jwt', 'svid', 'PERMISSION_DENIED: client_identity'],
      ['sign-bundle', 'svid', 'PERMISSION_DENIED: client_identity'],
    ] as const)('gets nothing of the issuer: %s, certificate: %s', async (attempt, credential, refusal) => {
      const said = await tries<string>({ attempt, target: ISSUER, ...(credential && { credential }) })
      expect(said.startsWith(`${refusal}: `), said).toBe(true)
    })

    test('gets no control identity for a certificate that it forged', async () => {
      const { uid } = (await world.get('pod', 'hostile', NAMESPACE)).metadata
      const control = `spiffe://${TRUST_DOMAIN}/portcullis/pod/${uid}`
      for (const credential of [forgeSvid(control), forgeSvid(control, await tries({ attempt: 'svid' }))])
        expect(await tries({ attempt: 'issue-workload', target: ISSUER, credential })).toMatch(
          /^UNAVAILABLE: /,
        )
    })

    test('gets no control identity for any token that it finds, nor for one that it is given', async () => {
      const found = await tries<readonly string[]>({ attempt: 'tokens' })
      // Its own service account token, under both names of the mount.
      expect(found.length).toBe(1)
      const other = await tokenFor(['vault'])
      expect(other.code).toBe(201)
      const given = (JSON.parse(other.text) as { status: { token: string } }).status.token
      for (const token of [...found, given, 'x', ''])
        expect(await tries({ attempt: 'issue-control', target: ISSUER, token })).toMatch(
          token.length > 1 ? /^UNAUTHENTICATED: token_audience: / : /^UNAUTHENTICATED: token_(form|size): /,
        )
    })

    test.each([[['portcullis.dev/cluster.example']], [['vault', 'portcullis.dev/cluster.example']]])(
      'is given no token for %j, though it may make tokens of its service account',
      async (audiences) => {
        const { code, text } = await tokenFor(audiences)
        expect([code, text]).toEqual([403, expect.stringContaining('stands for a sidecar')])
      },
    )

    test.each([
      `/api/v1/namespaces/${SYSTEM}/secrets/portcullis-ca`,
      `/api/v1/namespaces/${SYSTEM}/secrets`,
      `/api/v1/namespaces/${SYSTEM}/configmaps`,
      '/api/v1/secrets',
    ])('is not shown %s by the API server', async (path) => {
      expect(await tries<{ code: number }>({ attempt: 'kubernetes', path })).toMatchObject({ code: 403 })
    })

    test('sees neither processes nor files of the sidecar', async () => {
      const seen = await tries<readonly string[]>({ attempt: 'processes' })
      expect(seen.filter((line) => line.includes('sidecar'))).toEqual([])
      expect(seen.length).toBe(1)
      for (const path of [
        '/var/run/secrets/portcullis/token',
        '/var/run/secrets/portcullis',
        '/app/dist/sidecar/main.js',
      ])
        expect([path, await tries({ attempt: 'read', path })]).toEqual([path, 'ENOENT'])
    })

    test.each([
      ['write', '/run/portcullis/other.sock', 'EROFS'],
      ['remove', '/run/portcullis/check.sock', 'EROFS'],
      ['close', '/run/portcullis/check.sock', 'EROFS'],
      ['write', '/run/spiffe/other.sock', 'EROFS'],
      ['remove', '/run/spiffe/workload.sock', 'EROFS'],
      ['close', '/run/spiffe/workload.sock', 'EROFS'],
      ['replace', '/run/portcullis', 'EROFS'],
      ['replace', '/run/spiffe', 'EROFS'],
    ])('cannot %s %s', async (attempt, path, errno) => {
      expect(await tries({ attempt, path })).toBe(errno)
    })

    test('a pod that would share processes with its sidecar is not admitted', async () => {
      const pod = injectedPod({ name: 'sharing', image: world.images.plain.pinned })
      const outcome = await world
        .apply(pod.replace('spec:\n', 'spec:\n  shareProcessNamespace: true\n'))
        .then(() => 'admitted', String)
      expect(outcome).toMatch(/shareProcessNamespace/)
      table.row('hostile application', undefined, 'feed, issuer, tokens, files, sockets: all refused')
    })
  })

  test('the former root is taken away when its last certificate has expired: still no call has failed', async () => {
    const took = await eventually(
      'the former root is gone',
      async () => {
        const { phase = '' } = await rotationOf(world, 'ca')
        return phase === 'Complete' ? undefined : phase
      },
      600_000,
    )
    await delay(2_000)
    const { ok, failed, serials, peerSerials } = await called()
    expect(failed).toBe(0)
    expect(eventsOf(await probeLines(world, 'serve'), 'server_error')).toEqual([])
    table.row(
      'former root retired',
      took,
      `${ok} calls, 0 failed; ${serials} and ${peerSerials} certificates`,
    )
  }, 700_000)
})

/** What the calling pod has counted so far. */
async function called() {
  const lines = await probeLines(world, 'call')
  const last = eventsOf(lines, 'progress').at(-1)
  const { ok = 0, serials = 0, peerSerials = 0, peers = [] } = last ?? {}
  return { ok, serials, peerSerials, peers, failed: eventsOf(lines, 'failed').length }
}

/** What a pod that asks each method once has printed. */
async function fetched(): Promise<readonly ProbeLine[]> {
  await world.apply(
    injectedPod({
      name: 'fetch',
      image: world.images.probe.pinned,
      args: ['fetch', '--audience', 'https://orders.example', '--timeout', '60s'],
      serviceAccount: 'fetcher',
    }),
  )
  let lines: readonly ProbeLine[] = []
  await eventually('an answer of fetch', async () => {
    lines = await probeLines(world, 'fetch')
    const over = lines.some(({ event }) => event === 'jwt_validated' || event === 'error')
    return over ? undefined : JSON.stringify(lines)
  })
  return lines
}

async function tries<T>(order: object): Promise<T> {
  const { status } = await world.get('pod', 'hostile', NAMESPACE)
  return (await post<{ value: T }>(String(status['podIP']), '/', order)).value
}

const tokenFor = (audiences: readonly string[]) =>
  tries<{ code: number; text: string }>({
    attempt: 'kubernetes',
    path: `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/hostile/token`,
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences } },
  })

async function programmed(): Promise<unknown> {
  return (await world.get('accesspolicy', 'probes', NAMESPACE)).status['programmed']
}

async function eventsOfTrustDomain(): Promise<string> {
  return JSON.stringify((await world.get('trustdomain', TRUST_DOMAIN)).status['conditions'])
}

/** The hostile one may have tokens of its own account made: more than an application usually may. */
function accounts(): string {
  const names = ['server', 'caller', 'fetcher', 'hostile']
  return `${names
    .map(
      (name) =>
        `apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: ${name}, namespace: ${NAMESPACE} }\n`,
    )
    .join('---\n')}---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: tokens, namespace: ${NAMESPACE} }
rules: [{ apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [hostile], verbs: [create] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: tokens, namespace: ${NAMESPACE} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: tokens }
subjects: [{ kind: ServiceAccount, name: hostile, namespace: ${NAMESPACE} }]
`
}
