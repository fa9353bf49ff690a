import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { holdersOf, type Right, subjectsOf } from './access.ts'
import { filesOf } from './image-files.ts'
import { injectedPod, openInstalled } from './installed.ts'
import { askAll, podsOf } from './pods.ts'
import { type Finding, findingsIn } from './private-keys.ts'
import { eventsOf, probeLines } from './probe.ts'
import { deployment } from './shop.ts'
import { createTable } from './table.ts'
import { eventually, NAMESPACE, SYSTEM, type World } from './world.ts'

// No static secret anywhere: everything that an installation at work leaves behind is searched for private keys and tokens, and the few keys
// that exist are named together with everybody who can read them.

const reason = notRun('e2e', 'secrets.test.ts', clusterUnavailable())
const table = createTable('Secrets')
const KEYS = [
  'portcullis-bundle-keys',
  'portcullis-ca',
  'portcullis-jwt-keys',
  'portcullis-webhook-tls',
] as const
const ELSEWHERE = 'elsewhere'
const account = (name: string) => `system:serviceaccount:${SYSTEM}:${name}`

interface KubeObject {
  readonly kind: string
  readonly metadata: { readonly namespace?: string; readonly name: string }
  readonly data?: Readonly<Record<string, string>>
}

let world: World
let bearer: string

describe.skipIf(reason)('keys and tokens of an installation at work', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    world = await openInstalled('e2e-secrets')
    const fetch = ['fetch', '--audience', 'https://orders.example', '--timeout', '60s']
    const probe = injectedPod({ name: 'fetch', image: world.images.probe.pinned, args: fetch })
    await world.apply(`${deployment(world.images.sample.pinned)}---${probe}`)
    await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '240s'])
    bearer = await world.idp.mint()
    await exercise()
  }, 900_000)
  afterAll(async () => {
    table.print()
    await world?.[Symbol.asyncDispose]()
  }, 120_000)

  test('of all objects in the cluster four Secrets hold private keys, and nothing else does', async () => {
    const objects = await everything()
    const found = objects.flatMap((object) => {
      const kinds = new Set(
        findingsIn(Buffer.from(JSON.stringify(object)))
          .filter(isKey)
          .map(({ form }) => form),
      )
      return kinds.size > 0 ? [`${object.kind} ${object.metadata.namespace}/${object.metadata.name}`] : []
    })
    expect(found.toSorted()).toEqual(KEYS.map((name) => `Secret ${SYSTEM}/${name}`))
    table.row('private keys in the API', undefined, `${objects.length} objects read; ${KEYS.join(', ')}`)
  })

  test('and no object holds a token', async () => {
    const objects = await everything()
    const found = objects
      .filter((object) => findingsIn(Buffer.from(JSON.stringify(object))).some(({ form }) => form === 'JWT'))
      .map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)
    expect(found).toEqual([])
  })

  test('who can read them: its own program, and those who can read every Secret of the cluster', async () => {
    const subjects = await subjectsOf(world)
    await world.kubectl(['create', 'namespace', ELSEWHERE])
    const anywhere = await holdersOf(world, subjects, reading(ELSEWHERE, 'nobody-gave-it-away'))
    // What Kubernetes itself lets read every Secret: its administrators and its own controllers.
    expect(anywhere.filter((user) => !BUILT_IN.test(user))).toEqual([])
    const readers: Record<string, readonly string[]> = {}
    for (const name of KEYS) {
      const holders = await holdersOf(world, subjects, reading(SYSTEM, name))
      readers[name] = holders.filter((user) => !anywhere.includes(user))
    }
    expect(readers).toEqual({
      'portcullis-bundle-keys': [account('portcullis-issuer')],
      'portcullis-ca': [account('portcullis-issuer')],
      'portcullis-jwt-keys': [account('portcullis-issuer')],
      'portcullis-webhook-tls': [account('portcullis-control')],
    })
    table.row(
      'who reads them',
      undefined,
      `${subjects.length} subjects asked: issuer 3, control 1, ${anywhere.length} of Kubernetes itself all`,
    )
  })

  test.each(DETOURS)(
    'no detour to them: nobody may %s in the system namespace who may not do so everywhere',
    async (_, detour) => {
      const subjects = await subjectsOf(world)
      const [here, anywhere] = [
        await holdersOf(world, subjects, detour(SYSTEM)),
        await holdersOf(world, subjects, detour('default')),
      ]
      expect(here.filter((user) => !anywhere.includes(user))).toEqual([])
      // A node creates mirrors of its static pods, to which admission allows neither Secrets nor service accounts.
      expect(anywhere.filter((user) => !BUILT_IN.test(user) && !user.startsWith('system:node:'))).toEqual([])
    },
  )

  test('no environment of a running process and no argument holds a key or a token', async () => {
    const processes = (await world.cluster.nodeExec(['sh', '-c', ENVIRONMENTS])).split('\u0001')
    const ours = processes.filter((text) => /dist\/(sidecar|operator)\/main\.js/.test(text))
    // Two replicas of two programs, a sidecar in each of four pods.
    expect(ours.length).toBe(8)
    expect(processes.filter((text) => findingsIn(Buffer.from(text)).length > 0)).toEqual([])
    table.row('environments and arguments', undefined, `${processes.length} processes of pods: none`)
  })

  test('004-07: volumes of pods hold no key, and of what is secret only the tokens that the kubelet renews', async () => {
    const listed = (await world.cluster.nodeExec(['sh', '-c', VOLUMES])).trim().split('\n')
    const names = new Set(listed.map((path) => path.replace(/.*\//, '')))
    expect([...names].toSorted()).toEqual(['Corefile', 'anchors.pem', 'ca.crt', 'namespace', 'token'])
    const keys = await world.cluster.nodeExec(['sh', '-c', `${VOLUMES} | xargs cat`])
    expect(findingsIn(Buffer.from(keys)).filter(isKey)).toEqual([])
  })

  test.each(['sidecar', 'operator'] as const)(
    'the image of the %s carries neither key nor token',
    (which) => {
      const files = filesOf(world.images[which].archive)
      expect(files.length).toBeGreaterThan(100)
      const names = files.filter(({ path }) => SUSPICIOUS.test(path)).map(({ path }) => path)
      expect(names).toEqual([])
      // Nothing in a program of a hundred megabytes is decoded: only what is there as it is.
      const found = files.flatMap(({ path, content }) =>
        findingsIn(content, content.length > 1_000_000 ? 4 : 2).map(({ form }) => `${path}: ${form}`),
      )
      expect(found.filter((one) => one !== EXAMPLE)).toEqual([])
      table.row(`image of the ${which}`, undefined, `${files.length} files: none`)
    },
    300_000,
  )

  test('no log of sidecar or operator holds a key, a token, or what a Secret holds', async () => {
    const logs = await logsOfOurs()
    expect(logs.map(({ lines }) => lines > 0)).toEqual(logs.map(() => true))
    expect(logs.length).toBe(8)
    const text = logs.map((one) => one.text).join('\n')
    // The logs do speak of what happened with the token.
    expect(text).toMatch(/"outcome":|"decision":|"reason":/)
    expect(findingsIn(Buffer.from(text))).toEqual([])
    expect(text).not.toContain(bearer.split('.')[2])
    expect((await valuesOfKeys()).filter((value) => text.includes(value))).toEqual([])
    table.row(
      'logs',
      undefined,
      `${logs.length} containers, ${logs.reduce((sum, { lines }) => sum + lines, 0)} lines: none`,
    )
  })

  test('no metric holds one', async () => {
    const pages = await metricsOfOurs()
    expect(pages.length).toBe(8)
    for (const page of pages) expect(page).toMatch(/^# TYPE /m)
    const text = pages.join('\n')
    expect(findingsIn(Buffer.from(text))).toEqual([])
    expect((await valuesOfKeys()).filter((value) => text.includes(value))).toEqual([])
    table.row('metrics', undefined, `${pages.length} pages: none`)
  })
})

/** Administrators and controllers that a cluster has without us. */
const BUILT_IN =
  /^(anyone in system:masters|anyone in kubeadm:cluster-admins|system:kube-controller-manager|system:kube-scheduler|system:serviceaccount:kube-system:[a-z-]+)$/

const isKey = ({ form }: Finding) => form !== 'JWT'

/** Also by listing or watching, named or not, and by an unnamed deletion, which answers with what it deleted. */
function reading(namespace: string, name: string): readonly Right[] {
  const named = ['get', 'list', 'watch', 'update', 'patch', 'delete'].map((verb) => ({
    verb,
    resource: 'secrets',
    namespace,
    name,
  }))
  const all = ['list', 'watch', 'deletecollection'].map((verb) => ({ verb, resource: 'secrets', namespace }))
  return [...named, ...all]
}

/** What is as good as reading: running as somebody who may, becoming him, or giving oneself the right. */
const DETOURS: readonly (readonly [string, (namespace: string) => readonly Right[]])[] = [
  ['run pods', (namespace) => [{ verb: 'create', resource: 'pods', namespace }]],
  [
    'enter pods',
    (namespace) =>
      ['exec', 'attach', 'ephemeralcontainers'].flatMap((subresource) => [
        { verb: 'create', resource: 'pods', subresource, namespace },
        { verb: 'patch', resource: 'pods', subresource, namespace },
      ]),
  ],
  [
    'make tokens',
    (namespace) => [{ verb: 'create', resource: 'serviceaccounts', subresource: 'token', namespace }],
  ],
  ['impersonate', (namespace) => [{ verb: 'impersonate', resource: 'serviceaccounts', namespace }]],
  [
    'change what runs',
    (namespace) =>
      ['create', 'update', 'patch'].flatMap((verb) =>
        ['deployments', 'daemonsets', 'statefulsets', 'replicasets'].map((resource) => ({
          verb,
          resource,
          group: 'apps',
          namespace,
        })),
      ),
  ],
  [
    'give rights',
    (namespace) =>
      ['create', 'update', 'patch', 'bind', 'escalate'].flatMap((verb) =>
        ['roles', 'rolebindings'].map((resource) => ({
          verb,
          resource,
          group: 'rbac.authorization.k8s.io',
          namespace,
        })),
      ),
  ],
]

/** Environment and arguments of each process that is in a pod, one after the other. */
const ENVIRONMENTS = String.raw`own=$(readlink /proc/1/ns/mnt); for p in /proc/[0-9]*; do
  grep -q kubepods $p/cgroup 2>/dev/null || continue
  tr '\0' '\n' <$p/cmdline; tr '\0' '\n' <$p/environ; printf '\001'; done 2>/dev/null; true`

/** Regular files of the volumes of all pods but Kubernetes' own bookkeeping. */
const VOLUMES = `find /var/lib/kubelet/pods/*/volumes/ -type f`

/** OPA explains its signed bundles with one. */
const EXAMPLE = 'usr/local/bin/opa: JWT'

const SUSPICIOUS =
  /(\.(pem|key|p12|pfx|jks|kdbx|jwk|crt|cer)|(^|\/)(id_[a-z0-9]+|\.npmrc|\.netrc|\.env.*|\.git|kubeconfig|credentials|token))$/i

/** Things that make programs speak: good and bad tokens. */
async function exercise(): Promise<void> {
  const pods = await podsOf(world, 'shop')
  expect(await askAll(pods, { token: bearer })).toEqual(pods.map(() => 'allow'))
  for (const token of ['nonsense', `${bearer}x`, await world.idp.mint({ aud: 'https://other.example' })])
    expect(await askAll(pods, { token })).not.toContain('allow')
  await eventually('SVIDs in a pod', async () => {
    const lines = await probeLines(world, 'fetch')
    return eventsOf(lines, 'jwt_validated').length > 0 ? undefined : JSON.stringify(lines)
  })
}

/** Every object of every kind that can be listed. */
async function everything(): Promise<readonly KubeObject[]> {
  const kinds = (await world.kubectl(['api-resources', '--verbs=list', '-o', 'name'])).trim().split('\n')
  const stored = kinds.filter((kind) => !/\.metrics\.k8s\.io$|^componentstatuses$/.test(kind))
  const text = await world.cluster.kubectl(['get', stored.join(','), '-A', '-o', 'json'], {
    timeoutMs: 180_000,
  })
  return (JSON.parse(text) as { items: readonly KubeObject[] }).items
}

async function valuesOfKeys(): Promise<readonly string[]> {
  const secrets = await Promise.all(
    KEYS.map(
      async (name) =>
        JSON.parse(await world.kubectl(['get', 'secret', name, '-n', SYSTEM, '-o', 'json'])) as KubeObject,
    ),
  )
  return secrets.flatMap(({ data = {} }) =>
    Object.entries(data)
      .filter(([, value]) => findingsIn(Buffer.from(value)).some(isKey))
      // The end of it: every encoding begins alike.
      .flatMap(([, value]) => [
        value.slice(-64, -8),
        Buffer.from(value, 'base64').toString('latin1').trim().slice(-64, -32),
      ])
      .filter((value) => value.length >= 24),
  )
}

interface Ours {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly metrics: string
}

/** Containers that run our programs. */
async function ours(): Promise<readonly Ours[]> {
  const list = JSON.parse(await world.kubectl(['get', 'pods', '-A', '-o', 'json'])) as {
    items: {
      metadata: { namespace: string; name: string }
      spec: { containers: { name: string }[]; initContainers?: { name: string }[] }
      status: { podIP: string }
    }[]
  }
  return list.items.flatMap(({ metadata: { namespace, name }, spec, status }) => {
    const one = (container: string, port: number) => ({
      namespace,
      pod: name,
      container,
      metrics: `http://${status.podIP}:${port}/metrics`,
    })
    if (namespace === SYSTEM) return spec.containers.map((container) => one(container.name, 8080))
    return (spec.initContainers ?? [])
      .filter((container) => container.name === 'portcullis')
      .map((container) => one(container.name, 9090))
  })
}

async function logsOfOurs() {
  const places = await ours()
  return Promise.all(
    places.map(async ({ namespace, pod, container }) => {
      const text = await world.kubectl(['logs', pod, '-n', namespace, '-c', container])
      return { text, lines: text.split('\n').filter((line) => line !== '').length }
    }),
  )
}

async function metricsOfOurs(): Promise<readonly string[]> {
  const places = await ours()
  return Promise.all(
    places.map(async ({ metrics }) => {
      const response = await fetch(metrics, { signal: AbortSignal.timeout(10_000) })
      if (!response.ok) throw new Error(`${metrics}: ${response.status}`)
      return response.text()
    }),
  )
}
