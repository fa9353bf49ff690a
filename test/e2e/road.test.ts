import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MISS_LIMITS } from '../../sidecar/trust/keys.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { type AppPod, askAll, conditionOf, podsOf, readyPods, traffic, untilAll } from './pods.ts'
import { accessPolicy, deployment, policyBundle, tokenIssuer } from './shop.ts'
import { createTable } from './table.ts'
import { eventually, NAMESPACE, openWorld, SYSTEM, type World } from './world.ts'

// The whole road on a real cluster, in the order in which its users walk it. Each step stands on the ones before it.

const reason = notRun('e2e', 'road.test.ts', clusterUnavailable())
const table = createTable('The whole road')
let world: World
let pods: readonly AppPod[]

const seconds = async (act: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await act()
  return (performance.now() - began) / 1000
}
const alice = () => world.idp.mint()
const good = async (): Promise<{ readonly token: string }> => ({ token: await alice() })

/** Keeps handing a fresh token to a stream, so that it never expires on the way. */
const onlyAllowed = (counts: Readonly<Record<string, number>>) =>
  Object.keys(counts).filter((one) => one !== 'allow')

async function until(kind: string, name: string, type: string, wanted: string): Promise<number> {
  return eventually(`${kind} ${name} ${type}=${wanted}`, async () => {
    const { status, message } = await conditionOf(world, kind, name, type)
    return status === wanted ? undefined : `${status}: ${message}`
  })
}

describe.skipIf(reason)('the whole road', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    world = await openWorld('e2e-road')
  }, 600_000)
  afterAll(async () => {
    table.print()
    await world?.[Symbol.asyncDispose]()
  }, 120_000)

  test('helm install: both programs serve', async () => {
    const took = await seconds(() =>
      world.helm([
        'install',
        'portcullis',
        'charts/portcullis',
        '-n',
        SYSTEM,
        '--create-namespace',
        '--wait',
        '--timeout',
        '180s',
        ...world.values,
      ]),
    )
    table.row('helm install --wait', took, 'control 2/2, issuer 2/2')
    await eventually('the webhook serves', async () => {
      const { status } = await conditionOf(world, 'sidecarprofile', 'default', 'Ready')
      return status === 'True' ? undefined : status
    })
  })

  test('three replicas with one label: a sidecar each, allow and deny from inside', async () => {
    await world.apply(`${tokenIssuer(world)}---${policyBundle()}---${accessPolicy()}`)
    const took = await seconds(async () => {
      await world.apply(deployment(world.images.sample.pinned))
      await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '180s'])
    })
    pods = await readyPods(world, 'shop', 3)
    table.row('three injected pods ready', took, 'native sidecar first')
    const token = await alice()
    expect(await askAll(pods, { token })).toEqual(['allow', 'allow', 'allow'])
    const foreign = { type: 'invoice', id: 'x', tenant: 'globex', owner: 'alice', attributes: {} }
    expect(await askAll(pods, { token, stored: foreign })).toEqual(Array(3).fill('tenant_mismatch'))
    expect(await askAll(pods, { token: await world.idp.mint(expired()) })).toEqual(Array(3).fill('expired'))
    for (const [kind, name] of [
      ['tokenissuer', 'idp'],
      ['policybundle', 'invoices'],
      ['accesspolicy', 'shop'],
    ] as const) {
      await until(kind, name, 'Ready', 'True')
    }
    const shop = await world.get('accesspolicy', 'shop', NAMESPACE)
    expect((shop.status as unknown as { programmed: string }).programmed).toMatch(/^3\/3 at sha256:/)
    table.row(
      'allow and deny over localhost',
      undefined,
      'allow, tenant_mismatch, expired on 3/3; Programmed 3/3',
    )
  })

  test('a token of a real login is allowed', async () => {
    const { accessToken } = await world.idp.userTokens('alice')
    expect(await askAll(pods, { token: accessToken })).toEqual(['allow', 'allow', 'allow'])
  })

  test('an edited AccessPolicy changes answers on 3/3, and status says so', async () => {
    const token = await alice()
    await world.apply(accessPolicy('https://another.example'))
    const took = await untilAll(pods, { token }, 'aud_mismatch')
    await until('accesspolicy', 'shop', 'Programmed', 'True')
    table.row('kubectl apply AccessPolicy -> enforced on 3/3', took, 'allow -> aud_mismatch')
    await world.apply(accessPolicy())
    await untilAll(pods, { token }, 'allow')
  })

  test('an edited PolicyBundle changes answers on 3/3; a broken one is refused with its line and changes nothing', async () => {
    const token = await world.idp.mint({ sub: 'bob' })
    const stored = {
      type: 'invoice',
      id: 'i',
      tenant: 'acme',
      owner: 'alice',
      attributes: { visibility: 'tenant' },
    }
    expect(await askAll(pods, { token, stored })).toEqual(['allow', 'allow', 'allow'])
    await world.apply(policyBundle({ colleagues: 'package app\n\ndefault shared := false\n' }))
    const took = await untilAll(pods, { token, stored }, 'not_owner')
    await until('policybundle', 'invoices', 'Programmed', 'True')
    table.row(
      'kubectl apply PolicyBundle -> enforced on 3/3',
      took,
      'allow -> not_owner; compiled, tested, signed',
    )

    await world.apply(policyBundle({ colleagues: 'package app\n\nshared if {\n\tinput.action = = "x"\n}\n' }))
    await until('policybundle', 'invoices', 'Compiled', 'False')
    const { message } = await conditionOf(world, 'policybundle', 'invoices', 'Compiled')
    expect(message).toMatch(/colleagues\.rego:4: .*stays in force/)
    expect(await askAll(pods, { token, stored })).toEqual(Array(3).fill('not_owner'))
    table.row('broken PolicyBundle', undefined, message.split(';', 1)[0] ?? '')
    await world.apply(policyBundle())
    await untilAll(pods, { token, stored }, 'allow')
  })

  test('rules come from a ConfigMap, too, once its namespace is listed', async () => {
    await world.apply(`
apiVersion: v1
kind: ConfigMap
metadata: { name: rules, namespace: ${NAMESPACE} }
data:
  a.rego: |
    package app
    allow contains "a.read" if input.action == "a:read"
---
apiVersion: portcullis.dev/v1alpha1
kind: PolicyBundle
metadata: { name: from-map, namespace: ${NAMESPACE} }
spec: { tests: Skip, source: { type: ConfigMap, configMap: { name: rules } } }
`)
    await until('policybundle', 'from-map', 'Compiled', 'False')
    expect((await conditionOf(world, 'policybundle', 'from-map', 'Compiled')).message).toMatch(
      /configMapNamespaces/,
    )
    const values = [...world.values, '--set', `configMapNamespaces={${NAMESPACE}}`]
    await world.helm(['upgrade', 'portcullis', 'charts/portcullis', '-n', SYSTEM, '--wait', ...values])
    table.row(
      'PolicyBundle from a ConfigMap',
      await until('policybundle', 'from-map', 'Signed', 'True'),
      'refused with the remedy, then signed',
    )
  })

  test('000-34: refresh-now fetches the keys at once', async () => {
    const asked = `now-${Date.now()}`
    const took = await seconds(async () => {
      await world.kubectl([
        'annotate',
        '--overwrite',
        'tokenissuer',
        'idp',
        '-n',
        NAMESPACE,
        `portcullis.dev/refresh-now=${asked}`,
      ])
      await eventually('status says that it was served', async () => {
        const { jwks } = (await world.get('tokenissuer', 'idp', NAMESPACE)).status as unknown as {
          jwks?: { refreshedNow?: string }
        }
        return jwks?.refreshedNow === asked ? undefined : String(jwks?.refreshedNow)
      })
    })
    table.row('refresh-now -> keys fetched, in status', took, 'by annotation')
  })

  test('001-01, 004-22: the provider rotates its key: no good request is denied', async () => {
    const stream = traffic(pods, 'rotation')
    const sample = async () => {
      await stream.start(await good())
      await delay(1000)
      await stream.reset()
      const rotatedAt = Date.now()
      const kid = await world.idp.rotate({ keepOld: true })
      // From this moment on tokens are signed with a key that no sidecar has seen.
      for (let round = 0; round < 20; round++) {
        await stream.start(await good())
        await delay(100)
      }
      await delay(MISS_LIMITS.waitMs)
      const denials = (await stream.read()).flatMap(({ changes }) =>
        changes.filter(({ outcome }) => outcome !== 'allow'),
      )
      return { kid, counts: await stream.totals(), denials, rotatedAt }
    }
    let { kid, counts, denials, rotatedAt } = await sample()
    // Where the key took longer than a question waits for one, the machine stood still, and it was no sample.
    for (let again = 0; again < 3 && denials.length > 0; again++) {
      for (const { at, outcome } of denials) {
        expect(outcome).toBe('jwks_unavailable')
        expect(at - rotatedAt).toBeGreaterThanOrEqual(MISS_LIMITS.waitMs)
      }
      await untilAll(pods, await good(), 'allow')
      ;({ kid, counts, denials, rotatedAt } = await sample())
    }
    expect(counts).toEqual({ allow: expect.any(Number) })
    table.row(
      'provider rotates its key',
      undefined,
      `${counts['allow']} allowed, 0 denied (new kid ${kid.slice(0, 8)})`,
    )
    await stream.stop()
  })

  test('004-34, 004-04: revokedKids, then a Revocation, take effect everywhere', async () => {
    const token = await alice()
    const kid = world.idp.kid()
    await untilAll(pods, { token }, 'allow')
    await world.apply(tokenIssuer(world, [`"${kid}"`]))
    table.row('revokedKids -> denied on 3/3', await untilAll(pods, { token }, 'kid_revoked'), 'kid_revoked')
    await world.apply(tokenIssuer(world))
    await untilAll(pods, { token }, 'allow')

    const took = await seconds(async () => {
      await world.apply(revocation('sub-alice', { type: 'Subject', value: 'alice' }))
      await untilAll(pods, { token }, 'revoked_sub')
    })
    table.row('Revocation -> denied on 3/3', took, 'revoked_sub')
    await until('revocation', 'sub-alice', 'Programmed', 'True')
    await world.kubectl(['delete', 'revocation', 'sub-alice', '-n', NAMESPACE])
    await untilAll(pods, { token }, 'allow')
  })

  test.each([
    ['JWTSVID', 'jwt'],
    ['BundleSigning', 'bundle'],
    ['X509CA', 'ca'],
  ] as const)('KeyRotation of %s under traffic loses no request', async (use, name) => {
    const stream = traffic(pods, `keys-${name}`)
    await stream.start(await good())
    await world.apply(`
apiVersion: portcullis.dev/v1alpha1
kind: KeyRotation
metadata: { name: ${name} }
spec: { trustDomain: cluster.example, use: ${use}, action: Rotate }
`)
    const took = await eventually(`${use} activated`, async () => {
      const { status } = await world.get('keyrotation', name)
      const { phase = '', verifiers } = status as unknown as { phase?: string; verifiers?: object }
      return ['Active', 'Retiring', 'Complete'].includes(phase)
        ? undefined
        : `${phase} ${JSON.stringify(verifiers)}`
    })
    await delay(2000)
    const { status } = await world.get('keyrotation', name)
    const { steps, verifiers } = status as unknown as {
      steps: { step: string }[]
      verifiers: { total: number; acknowledged: number }
    }
    expect(steps.map(({ step }) => step)).toEqual(expect.arrayContaining(['prepare', 'publish', 'activate']))
    const counts = await stream.totals()
    expect(counts).toEqual({ allow: expect.any(Number) })
    table.row(
      `KeyRotation ${use}: activated`,
      took,
      `${verifiers.acknowledged}/${verifiers.total} verifiers; ${counts['allow']} allowed, 0 denied`,
    )
    await stream.stop()
  })

  test('a key is revoked in one step: it leaves the bundle, and another signs', async () => {
    const keysOf = async () => {
      const { status } = await world.get('trustdomain', 'cluster.example')
      return (status as unknown as { jwtKeys: { id: string; state: string }[] }).jwtKeys
    }
    const stream = traffic(pods, 'revoke')
    await stream.start(await good())
    const active = (await keysOf()).find(({ state }) => state === 'Active')?.id ?? ''
    await world.apply(`
apiVersion: portcullis.dev/v1alpha1
kind: KeyRotation
metadata: { name: stolen }
spec: { trustDomain: cluster.example, use: JWTSVID, action: Revoke, keyId: ${JSON.stringify(active)}, reason: "a test" }
`)
    const took = await eventually('the key is gone', async () => {
      const keys = await keysOf()
      const others = keys.filter(({ id, state }) => id !== active && state === 'Active')
      return keys.every(({ id }) => id !== active) && others.length === 1 ? undefined : JSON.stringify(keys)
    })
    await eventually('phase Revoked', async () => {
      const { phase } = (await world.get('keyrotation', 'stolen')).status as unknown as { phase?: string }
      return phase === 'Revoked' ? undefined : String(phase)
    })
    const counts = await stream.totals()
    expect(counts).toEqual({ allow: expect.any(Number) })
    table.row(
      'KeyRotation Revoke of the active JWT key',
      took,
      `out of the bundle; ${counts['allow']} allowed, 0 denied`,
    )
    await stream.stop()
  })

  test('one operator replica is killed: nobody notices', async () => {
    const stream = traffic(pods, 'replica')
    await stream.start(await good())
    const lease = await world.get('lease', 'portcullis-control', SYSTEM)
    const leader =
      String((lease.spec as unknown as { holderIdentity: string }).holderIdentity).split('_', 1)[0] ?? ''
    await world.kubectl(['delete', 'pod', leader, '-n', SYSTEM, '--grace-period=0', '--force'])
    const token = await alice()
    await world.apply(accessPolicy('https://another.example'))
    const took = await untilAll(pods, { token }, 'aud_mismatch')
    await world.apply(accessPolicy())
    await untilAll(pods, { token }, 'allow')
    const counts = await stream.totals()
    expect(onlyAllowed(counts).filter((one) => one !== 'aud_mismatch')).toEqual([])
    table.row(
      'leader killed -> next change enforced',
      took,
      `${counts['allow']} allowed meanwhile, none denied but by the change`,
    )
    await stream.stop()
  })

  test('a killed sidecar: the application gets denials, then recovers by itself', async () => {
    const [pod] = pods
    if (!pod) throw new Error('no pod')
    const stream = traffic([pod], 'killed')
    await stream.start(await good())
    const pids = (await world.cluster.nodeExec(['pgrep', '-f', 'sidecar/main.js --injected']))
      .trim()
      .split('\n')
    await world.cluster.nodeExec(['kill', '-9', ...pids.slice(0, 1)])
    await world.cluster.nodeExec(['kill', '-9', ...pids.slice(1)]).catch(() => undefined)
    const token = await alice()
    const took = await untilAll(pods, { token }, 'allow')
    await eventually('the same pods are ready again', async () => {
      const after = (await podsOf(world, 'shop')).map(({ uid }) => uid).sort()
      const before = pods.map(({ uid }) => uid).sort()
      return after.join() === before.join() ? undefined : `${after.length} of ${before.length}`
    })
    const counts = await stream.totals()
    table.row(
      'all sidecars killed -> answering again',
      took,
      `same pods; the application saw ${onlyAllowed(counts).join(', ') || 'no denial'}`,
    )
    await stream.stop()
  })

  test('pods without, with a look-alike, or with a thief of the token are refused', async () => {
    const refusal = async (yaml: string): Promise<string> =>
      world.apply(yaml).then(
        () => 'admitted',
        (cause: unknown) => String(cause),
      )
    const pod = (extra: string, labels = 'portcullis.dev/inject: enabled') => `
apiVersion: v1
kind: Pod
metadata: { name: bad, namespace: ${NAMESPACE}, labels: { ${labels} } }
spec:
  containers:
    - name: app
      image: ${world.images.sample.pinned}
      securityContext: { runAsNonRoot: true, runAsUser: 65532, allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, seccompProfile: { type: RuntimeDefault } }
${extra}`
    const thief = await refusal(pod(`      volumeMounts: [{ name: portcullis-token, mountPath: /steal }]`))
    expect(thief).toMatch(/portcullis-token/)
    const lookAlike = await refusal(
      pod(`  initContainers:
    - name: portcullis
      image: ${world.images.plain.pinned}
      restartPolicy: Always
      securityContext: { runAsNonRoot: true, runAsUser: 64531, allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, seccompProfile: { type: RuntimeDefault } }`),
    )
    expect(lookAlike).toMatch(/portcullis/)
    await world.kubectl(['delete', 'mutatingwebhookconfiguration', 'portcullis-inject'])
    const without = await refusal(pod(''))
    expect(without).toMatch(/sidecar/i)
    table.row(
      'guard',
      undefined,
      'token thief, look-alike, and no sidecar with the webhook deleted: all refused',
    )
    await world.helm(['upgrade', 'portcullis', 'charts/portcullis', '-n', SYSTEM, '--wait', ...world.values])
    await eventually('injection works again', async () => {
      const outcome = await refusal(pod(''))
      return outcome === 'admitted' ? undefined : outcome
    })
    await world.kubectl(['delete', 'pod', 'bad', '-n', NAMESPACE, '--grace-period=0', '--force'])
  })

  test('API server and etcd stopped and restored: the fleet goes on', async () => {
    const stream = traffic(pods, 'api')
    await stream.start(await good())
    await world.cluster.stopComponent('kube-apiserver')
    await world.cluster.stopComponent('etcd')
    // Longer than the strict and the standard lease together: heartbeats need no API server.
    await delay(70_000)
    const counts = await stream.totals()
    expect(counts).toEqual({ allow: expect.any(Number) })
    await world.cluster.startComponent('etcd')
    await world.cluster.startComponent('kube-apiserver')
    await eventually('the API server answers', async () => {
      await world.kubectl(['get', 'ns', SYSTEM])
      return undefined
    })
    const token = await alice()
    const took = await seconds(async () => {
      await world.apply(accessPolicy('https://another.example'))
      await untilAll(pods, { token }, 'aud_mismatch')
    })
    await world.apply(accessPolicy())
    await untilAll(pods, { token }, 'allow')
    table.row(
      'API server and etcd away for 70 s',
      took,
      `${counts['allow']} allowed, 0 denied; next change enforced after it was back`,
    )
    await stream.stop()
  })

  test('all replicas of the operator down: each route goes on inside its lease, then denies', async () => {
    const streams = {
      strict: traffic(pods, 'strict'),
      standard: traffic(pods, 'standard'),
      degraded: traffic(pods, 'degraded'),
    }
    const draft = {
      type: 'invoice',
      id: 'd',
      tenant: 'acme',
      owner: 'alice',
      attributes: { status: 'draft' },
    }
    const scope = ['invoice:read', 'invoice:delete', 'invoice:list'].join(' ')
    const token = await world.idp.mint({ scope })
    await streams.strict.start({ token, action: 'invoice:delete', stored: draft })
    await streams.standard.start({ token })
    await streams.degraded.start({ token, action: 'invoice:list' })
    await delay(1000)
    for (const one of Object.values(streams)) expect(onlyAllowed(await one.totals())).toEqual([])
    await world.kubectl(['scale', 'deploy/portcullis-control', '-n', SYSTEM, '--replicas=0'])
    await eventually('control is gone', async () => {
      const list = await world.kubectl([
        'get',
        'pods',
        '-n',
        SYSTEM,
        '-l',
        'app.kubernetes.io/component=control',
        '-o',
        'name',
      ])
      return list.trim() === '' ? undefined : list
    })
    const downAt = Date.now()
    await eventually('the standard route denies', async () => {
      const outcomes = await askAll(pods, { token })
      return outcomes.every((one) => one === 'revocation_stale') ? undefined : outcomes.join()
    })
    const since = async (stream: ReturnType<typeof traffic>) => {
      const changes = (await stream.read()).flatMap((one) =>
        one.changes.filter(({ outcome }) => outcome === 'revocation_stale'),
      )
      return Math.max(...changes.map(({ at }) => (at - downAt) / 1000))
    }
    table.row('all control replicas down: strict denies', await since(streams.strict), 'lease 5 s')
    table.row('all control replicas down: standard denies', await since(streams.standard), 'lease 60 s')
    expect(onlyAllowed(await streams.degraded.totals())).toEqual([])
    table.row('all control replicas down: read-degraded', undefined, 'still allowed, lease 15 min')
    await world.kubectl(['scale', 'deploy/portcullis-control', '-n', SYSTEM, '--replicas=2'])
    table.row('replicas back -> allowed again', await untilAll(pods, { token }, 'allow'), '3/3')
    for (const one of Object.values(streams)) await one.stop()
  })

  test('helm upgrade under traffic loses no request', async () => {
    const stream = traffic(pods, 'upgrade')
    await stream.start(await good())
    const took = await seconds(() =>
      world.helm([
        'upgrade',
        'portcullis',
        'charts/portcullis',
        '-n',
        SYSTEM,
        '--wait',
        '--timeout',
        '180s',
        ...world.values,
        '--set',
        'control.resources.requests.cpu=60m',
        '--set',
        'issuer.resources.requests.cpu=40m',
      ]),
    )
    const counts = await stream.totals()
    expect(counts).toEqual({ allow: expect.any(Number) })
    table.row('helm upgrade under traffic', took, `${counts['allow']} allowed, 0 denied`)
    await stream.stop()
  })

  test('helm rollback under traffic: no sidecar goes back to an older generation, no revocation is forgotten', async () => {
    const stream = traffic(pods, 'rollback')
    await stream.start(await good())
    const bob = await world.idp.mint({ sub: 'bob' })
    await world.apply(revocation('sub-bob', { type: 'Subject', value: 'bob' }))
    await untilAll(pods, { token: bob }, 'revoked_sub')
    const before = await Promise.all(pods.map(({ ip }) => readingOf(ip, 'portcullis_trust_generation')))
    const heads = await Promise.all(pods.map(({ ip }) => readingOf(ip, 'portcullis_revocation_head')))
    const took = await seconds(() =>
      world.helm(['rollback', 'portcullis', '1', '-n', SYSTEM, '--wait', '--timeout', '180s']),
    )
    await until('accesspolicy', 'shop', 'Programmed', 'True')
    const after = await Promise.all(pods.map(({ ip }) => readingOf(ip, 'portcullis_trust_generation')))
    const headsAfter = await Promise.all(pods.map(({ ip }) => readingOf(ip, 'portcullis_revocation_head')))
    expect(after.every((generation, index) => generation >= (before[index] ?? 0))).toBe(true)
    expect(headsAfter.every((head, index) => head >= (heads[index] ?? 0))).toBe(true)
    expect(await askAll(pods, { token: bob })).toEqual(Array(3).fill('revoked_sub'))
    const counts = await stream.totals()
    expect(counts).toEqual({ allow: expect.any(Number) })
    table.row(
      'helm rollback under traffic',
      took,
      `${counts['allow']} allowed, 0 denied; generations and revocations kept`,
    )
    await world.kubectl(['delete', 'revocation', 'sub-bob', '-n', NAMESPACE])
    await stream.stop()
  })

  test('two AccessPolicies that contradict each other deny, and both say so', async () => {
    const token = await alice()
    await world.apply(
      accessPolicy('https://another.example').replace('name: shop, namespace', 'name: shop-too, namespace'),
    )
    await untilAll(pods, { token }, 'not_ready')
    for (const name of ['shop', 'shop-too']) await until('accesspolicy', name, 'Conflict', 'True')
    const { message } = await conditionOf(world, 'accesspolicy', 'shop', 'Conflict')
    expect(message).toMatch(/shop-too.*change the selector/)
    await world.kubectl(['delete', 'accesspolicy', 'shop-too', '-n', NAMESPACE])
    table.row(
      'conflicting AccessPolicies',
      await untilAll(pods, { token }, 'allow'),
      'deny on 3/3, named in both; allowed again',
    )
  })

  test('helm test asks for an allow and a deny', async () => {
    const took = await seconds(() => world.helm(['test', 'portcullis', '-n', SYSTEM, '--timeout', '180s']))
    table.row('helm test', took, 'allow and insufficient_scope')
  })

  test('every guard policy type-checks', async () => {
    const list = JSON.parse(await world.kubectl(['get', 'validatingadmissionpolicies', '-o', 'json'])) as {
      items: { metadata: { name: string }; status?: { typeChecking?: { expressionWarnings?: unknown[] } } }[]
    }
    const ours = list.items.filter(({ metadata }) => metadata.name.startsWith('portcullis-'))
    expect(ours.length).toBeGreaterThan(5)
    expect(ours.filter(({ status }) => (status?.typeChecking?.expressionWarnings ?? []).length > 0)).toEqual(
      [],
    )
  })

  test('helm uninstall leaves no admission behind, and pods are created again', async () => {
    const took = await seconds(() =>
      world.helm(['uninstall', 'portcullis', '-n', SYSTEM, '--wait', '--timeout', '180s']),
    )
    for (const kind of [
      'mutatingwebhookconfigurations',
      'validatingwebhookconfigurations',
      'validatingadmissionpolicies',
      'validatingadmissionpolicybindings',
    ]) {
      const left = (await world.kubectl(['get', kind, '-o', 'name']))
        .split('\n')
        .filter((one) => one.includes('portcullis'))
      expect(left).toEqual([])
    }
    await world.kubectl([
      'run',
      'plain',
      '-n',
      NAMESPACE,
      `--image=${world.images.sample.pinned}`,
      '--dry-run=server',
      '--labels=portcullis.dev/inject=enabled',
      `--overrides=${JSON.stringify(PLAIN)}`,
    ])
    table.row('helm uninstall', took, 'no webhook, no guard; labelled pods are created again')
  })
})

async function readingOf(ip: string, metric: string): Promise<number> {
  const page = await (
    await fetch(`http://${ip}:9090/metrics`, { signal: AbortSignal.timeout(15_000) })
  ).text()
  return Number(new RegExp(`^${metric} (\\d+)`, 'm').exec(page)?.[1] ?? Number.NaN)
}

const expired = () => {
  const now = Math.floor(Date.now() / 1000)
  return { iat: now - 600, exp: now - 300 }
}

const PLAIN = {
  spec: {
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        name: 'plain',
        image: 'portcullis.test/sample:dev',
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
      },
    ],
  },
}

function revocation(name: string, entry: { readonly type: string; readonly value: string }): string {
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z$/, 'Z')
  return `
apiVersion: portcullis.dev/v1alpha1
kind: Revocation
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  issuerRef: { name: idp }
  entries: [{ type: ${entry.type}, value: ${entry.value} }]
  expiresAt: "${expiresAt}"
`
}
