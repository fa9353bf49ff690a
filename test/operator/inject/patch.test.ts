import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { INJECTED, inject } from '../../../operator/inject/patch.ts'
import { markOf, NEIGHBOUR, sidecarOf, volumesOf } from '../../../operator/inject/sidecar.ts'
import { FACTS, IMAGE, injected, NEXT_PEM, patched, profile, read, written } from './pods.ts'

const INJECT = 'portcullis.dev/inject'

// biome-ignore lint/suspicious/noExplicitAny: pods in every shape
type Any = any

function operations(pod: Any, namespace: object = {}, facts = FACTS) {
  const result = inject(read(pod), namespace as Record<string, string>, profile(), facts)
  if (!('patch' in result)) throw new Error(JSON.stringify(result))
  return result.patch
}

function refusals(pod: Any): readonly string[] {
  const result = inject(read(pod), {}, profile(), FACTS)
  return 'refused' in result ? result.refused : []
}

describe('the sidecar', () => {
  test('is, in full, what the guard demands and a restricted namespace admits', async () => {
    await expect(stringify(injected())).toMatchFileSnapshot('golden/pod.yaml')
  })

  test('follows its profile', () => {
    const sidecar: Any = sidecarOf(
      profile({
        decisionLog: 'Off',
        checkPort: 7171,
        adminPort: 9191,
        imagePullPolicy: 'Always',
        resources: { memoryLimit: '256Mi' },
      }),
      FACTS,
    )
    expect(sidecar.args.slice(-6)).toEqual([
      '--decision-log',
      'Off',
      '--check-port',
      '7171',
      '--admin-port',
      '9191',
    ])
    expect(sidecar.resources.limits).toEqual({ cpu: '1', memory: '256Mi' })
    expect(sidecar.imagePullPolicy).toBe('Always')
    const probes = [sidecar.startupProbe, sidecar.readinessProbe, sidecar.livenessProbe]
    expect(probes.map((probe) => probe.httpGet.port)).toEqual([9191, 9191, 9191])
  })

  test('has another mark for every change of the profile, and none for a rotation of roots', () => {
    const specs = [
      {},
      { decisionLog: 'Off' },
      { checkPort: 7171 },
      { image: IMAGE.replace('aaa', 'bbb') },
      { resources: { cpuLimit: '2' } },
    ]
    expect(new Set(specs.map((spec) => markOf(profile(spec), FACTS))).size).toBe(specs.length)
    expect(markOf(profile(), { ...FACTS, trustAnchors: [NEXT_PEM] })).toBe(markOf(profile(), FACTS))
  })
})

describe('what a pod already has', () => {
  test.each<[string, object]>([
    ['no volumes, no env, no mounts', {}],
    ['init containers', { initContainers: [{ name: 'first', image: 'i' }] }],
    [
      'empty lists',
      { volumes: [], initContainers: [], containers: [{ name: 'app', env: [], volumeMounts: [] }] },
    ],
    [
      'volumes and mounts',
      {
        volumes: [{ name: 'data' }],
        containers: [{ name: 'app', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
      },
    ],
    ['our very variable', { containers: [{ name: 'app', env: [NEIGHBOUR.env[0]] }] }],
    [
      'our very mount',
      { volumes: volumesOf(FACTS), containers: [{ name: 'app', volumeMounts: [NEIGHBOUR.mounts[0]] }] },
    ],
  ])('%s: stays, and gets what is missing', (_name, spec) => {
    const pod: Any = written(spec)
    const result = patched(pod, operations(pod))
    expect(result.spec.initContainers[0]).toEqual(sidecarOf(profile(), FACTS))
    for (const container of [...result.spec.containers, ...result.spec.initContainers.slice(1)]) {
      expect(container.env).toEqual(expect.arrayContaining([...NEIGHBOUR.env]))
      expect(container.volumeMounts).toEqual(expect.arrayContaining([...NEIGHBOUR.mounts]))
    }
    for (const volume of volumesOf(FACTS)) expect(result.spec.volumes).toContainEqual(volume)
    expect(operations(result)).toEqual([])
  })

  test('an annotation in the same map stays', () => {
    const pod = written({}, { [INJECT]: 'enabled' }, { annotations: { a: 'b' } })
    expect((patched(pod, operations(pod)) as Any).metadata.annotations).toEqual({
      a: 'b',
      [INJECTED]: markOf(profile(), FACTS),
    })
  })

  test('a container that another webhook added later gets its mounts, and nothing else changes', () => {
    const pod = injected()
    pod.spec.containers.push({ name: 'late', image: 'i' })
    const paths = operations(pod).map(({ path }) => path)
    expect(paths).toEqual(['/spec/containers/1/env', '/spec/containers/1/volumeMounts'])
  })

  test('a sidecar that another webhook pushed to the second place comes first again', () => {
    const pod = injected()
    pod.spec.initContainers.unshift({ name: 'mesh', image: 'i' })
    const result: Any = patched(pod, operations(pod))
    expect(result.spec.initContainers.map(({ name }: Any) => name)).toEqual(['portcullis', 'mesh'])
  })

  test('defaults that the API server sets since make no difference', () => {
    const pod = injected()
    pod.spec.initContainers[0].newField = 'default'
    pod.spec.volumes[0].emptyDir.newField = 1
    expect(operations(pod)).toEqual([])
  })
})

test.each<[string, RegExp, (pod: Any) => void]>([
  ['hostNetwork', /^spec\.hostNetwork: .*take hostNetwork away/, (p) => (p.spec.hostNetwork = true)],
  ['hostPID', /^spec\.hostPID:/, (p) => (p.spec.hostPID = true)],
  ['shareProcessNamespace', /^spec\.shareProcessNamespace:/, (p) => (p.spec.shareProcessNamespace = true)],
  ['Windows', /^spec\.os\.name:/, (p) => (p.spec.os = { name: 'windows' })],
  [
    'a volume of our name',
    /^spec\.volumes\[0\]: .*another name/,
    (p) => (p.spec.volumes = [{ name: 'portcullis-token', emptyDir: {} }]),
  ],
  [
    'a container of our name',
    /^spec\.containers\[0\]\.name/,
    (p) => (p.spec.containers[0].name = 'portcullis'),
  ],
  [
    'a sidecar of its own',
    /^spec\.initContainers\[0\]: .*differs from the sidecar in image, /,
    (p) => (p.spec.initContainers = [{ name: 'portcullis', image: 'x' }]),
  ],
  [
    'our variable with another value',
    /^spec\.containers\[0\]\.env\[1\]: PORTCULLIS_TARGET/,
    (p) => (p.spec.containers[0].env = [{ name: 'A' }, { name: 'PORTCULLIS_TARGET', value: 'x' }]),
  ],
  [
    'our path mounted',
    /^spec\.containers\[0\]\.volumeMounts\[0\]: \/run\/spiffe/,
    (p) => (p.spec.containers[0].volumeMounts = [{ name: 'x', mountPath: '/run/spiffe/' }]),
  ],
  [
    'our socket, writable',
    /volumeMounts\[0\]: \/run\/portcullis .*read-only/,
    (p) =>
      (p.spec.containers[0].volumeMounts = [{ name: 'portcullis-socket', mountPath: '/run/portcullis' }]),
  ],
  [
    'our socket, writable elsewhere',
    /may be mounted read-only only/,
    (p) => (p.spec.containers[0].volumeMounts = [{ name: 'portcullis-socket', mountPath: '/x' }]),
  ],
  [
    'our token mounted',
    /credential of the sidecar alone/,
    (p) =>
      (p.spec.initContainers = [
        { name: 'i', volumeMounts: [{ name: 'portcullis-token', mountPath: '/t' }] },
      ]),
  ],
  [
    'our check port',
    /^spec\.containers\[0\]\.ports\[0\]\.containerPort: 7070/,
    (p) => (p.spec.containers[0].ports = [{ containerPort: 7070 }]),
  ],
  [
    'our admin port',
    /containerPort: 9090 .*choose another one/,
    (p) => (p.spec.containers[0].ports = [{ containerPort: 9090 }]),
  ],
])('%s is refused with place and remedy, never overwritten', (_name, said, change) => {
  const pod: Any = written()
  change(pod)
  expect(refusals(pod).join('\n')).toMatch(said)
})

test('every conflict is named at once', () => {
  const pod: Any = written({ hostNetwork: true, volumes: [{ name: 'portcullis-spiffe', emptyDir: {} }] })
  expect(refusals(pod)).toHaveLength(2)
})

test.each<[string, object, object, object]>([
  ['nobody asked', {}, {}, { quiet: true, skipped: 'neither the pod nor its namespace is labelled' }],
  ['the pod declines', { [INJECT]: 'disabled' }, {}, { quiet: true, skipped: 'the pod is labelled' }],
  [
    'the pod declines what its namespace asks',
    { [INJECT]: 'disabled' },
    { [INJECT]: 'enabled' },
    { quiet: false, skipped: 'the pod is labelled' },
  ],
])('%s: skipped, with the reason', (_name, labels, namespace, expected) => {
  const result = inject(read(written({}, labels)), namespace as Record<string, string>, profile(), FACTS)
  const { skipped, ...rest } = expected as { readonly skipped: string }
  expect(result).toMatchObject({ ...rest, skipped: expect.stringContaining(skipped) })
})

test.each<[object, object]>([
  [{ [INJECT]: 'enabled' }, {}],
  [{ [INJECT]: 'enabled' }, { [INJECT]: 'disabled' }],
  [{}, { [INJECT]: 'enabled' }],
  [{}, { [INJECT]: 'required' }],
  [{ [INJECT]: 'disabled' }, { [INJECT]: 'required' }],
])('pod %j in namespace %j is injected', (labels, namespace) => {
  expect(operations(written({}, labels), namespace).length).toBeGreaterThan(0)
})

test('the namespaces of the cluster and of Portcullis are skipped aloud', () => {
  for (const namespace of ['kube-system', 'portcullis-system'])
    expect(
      inject(read(written({}, { [INJECT]: 'enabled' }, { namespace })), {}, profile(), FACTS),
    ).toMatchObject({
      skipped: expect.stringContaining(namespace),
      quiet: false,
    })
})

test('without a profile, or without a root to trust the operator by, the pod is refused', () => {
  expect(inject(read(written()), {}, undefined, FACTS)).toMatchObject({
    refused: [expect.stringMatching(/^SidecarProfile: /)],
  })
  expect(inject(read(written()), {}, profile(), { ...FACTS, trustAnchors: [] })).toMatchObject({
    refused: [expect.stringMatching(/^TrustDomain: /)],
  })
})
