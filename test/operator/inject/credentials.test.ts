// The second socket: mounted into the containers that a pod names, and into no other.
import { describe, expect, test } from 'vitest'
import { INJECTED, inject } from '../../../operator/inject/patch.ts'
import { injectionOf, markOf, sidecarOf } from '../../../operator/inject/sidecar.ts'
import { parseInjected } from '../../../sidecar/config-injected.ts'
import { FACTS, injected, profile, read, written } from './pods.ts'

// biome-ignore lint/suspicious/noExplicitAny: pods in every shape
type Any = any

const MOUNT = { name: 'portcullis-credentials', mountPath: '/run/portcullis-credentials', readOnly: true }
const THREE = {
  containers: [
    { name: 'web', image: 'i' },
    { name: 'agent', image: 'i' },
  ],
  initContainers: [{ name: 'migrate', image: 'i' }],
}
const asking = (names: string, spec: object = THREE): Record<string, unknown> =>
  written(spec, undefined, { annotations: { 'portcullis.dev/credentials': names } })

function refusals(pod: Record<string, unknown>): readonly string[] {
  const result = inject(read(pod), {}, profile(), FACTS)
  return 'refused' in result ? result.refused : []
}

function having(pod: Any): readonly string[] {
  return [...pod.spec.containers, ...pod.spec.initContainers]
    .filter(({ volumeMounts }: Any) => volumeMounts.some(({ name }: Any) => name === MOUNT.name))
    .map(({ name }: Any) => name)
}

describe('by default', () => {
  test('nobody has it: no volume, no mount, no variable, and the sidecar does not listen there', () => {
    const text = JSON.stringify(injected(written(THREE)))
    expect(text).not.toMatch(/credentials/i)
  })

  test('an empty annotation names nobody', () => {
    expect(having(injected(asking('')))).toEqual([])
  })
})

test.each<[string, readonly string[]]>([
  ['web', ['web', 'portcullis']],
  ['web,agent', ['web', 'agent', 'portcullis']],
  ['migrate', ['portcullis', 'migrate']],
  ['agent,migrate,agent', ['agent', 'portcullis', 'migrate']],
])('the annotation %s mounts it into exactly these, read-only, and into the sidecar', (names, want) => {
  const pod = injected(asking(names))
  expect(having(pod)).toEqual(want)
  for (const container of [...pod.spec.containers, ...pod.spec.initContainers.slice(1)]) {
    const asks = names.split(',').includes(container.name)
    expect(container.volumeMounts.filter(({ name }: Any) => name === MOUNT.name)).toEqual(asks ? [MOUNT] : [])
    const target = {
      name: 'PORTCULLIS_CREDENTIALS_TARGET',
      value: `unix://${MOUNT.mountPath}/credentials.sock`,
    }
    expect(container.env.filter(({ name }: Any) => name === target.name)).toEqual(asks ? [target] : [])
  }
  const [sidecar] = pod.spec.initContainers
  expect(sidecar).toEqual(sidecarOf(profile(), FACTS, true))
  expect(sidecar.args).toEqual([...injectionOf(profile(), FACTS).args, '--credentials', 'On'])
  expect(pod.spec.volumes).toContainEqual({
    name: MOUNT.name,
    emptyDir: { medium: 'Memory', sizeLimit: '1Mi' },
  })
})

test('a second call adds nothing, and the mark is that of the profile', () => {
  const pod = injected(asking('web'))
  const again = inject(read(pod), {}, profile(), FACTS)
  expect('patch' in again && again.patch).toEqual([])
  expect(pod.metadata.annotations[INJECTED]).toBe(markOf(profile(), FACTS))
})

test.each<[string, string, RegExp]>([
  [
    'a name that is nobody’s',
    'debug',
    /^metadata\.annotations\[portcullis\.dev\/credentials\]: there is no container "debug"/,
  ],
  ['a blank after the comma', 'web, agent', /there is no container " agent"/],
  ['a comma at the end', 'web,', /there is no container ""/],
  ['a star', '*', /there is no container "\*"/],
  ['the sidecar', 'portcullis', /"portcullis" is the sidecar itself/],
  ['too many', Array(17).fill('web').join(), /names more than 16 containers/],
])('%s is refused', (_what, names, said) => {
  expect(refusals(asking(names)).join('\n')).toMatch(said)
})

const other = { name: 'data', mountPath: MOUNT.mountPath }
test.each<[string, Record<string, unknown>, RegExp]>([
  [
    'a volume of that name where nobody asked',
    written({ ...THREE, volumes: [{ name: MOUNT.name, emptyDir: {} }] }),
    /^spec\.volumes\[0\]: the name portcullis-credentials is that of a volume of the sidecar/,
  ],
  [
    'a volume of that name that is something else',
    asking('web', { ...THREE, volumes: [{ name: MOUNT.name, hostPath: { path: '/' } }] }),
    /^spec\.volumes\[0\]: the name portcullis-credentials/,
  ],
  [
    'a mount in a container that is not named',
    asking('web', { containers: [{ name: 'web' }, { name: 'agent', volumeMounts: [MOUNT] }] }),
    /^spec\.containers\[1\]\.volumeMounts\[0\]: portcullis-credentials is mounted at .*and nowhere else/,
  ],
  [
    'a mount that can be written',
    asking('web', { containers: [{ name: 'web', volumeMounts: [{ ...MOUNT, readOnly: false }] }] }),
    /^spec\.containers\[0\]\.volumeMounts\[0\]/,
  ],
  [
    'a mount elsewhere',
    asking('web', { containers: [{ name: 'web', volumeMounts: [{ ...MOUNT, mountPath: '/c' }] }] }),
    /^spec\.containers\[0\]\.volumeMounts\[0\]/,
  ],
  [
    'another volume in its place',
    asking('web', { containers: [{ name: 'web', volumeMounts: [other] }], volumes: [{ name: 'data' }] }),
    /^spec\.containers\[0\]\.volumeMounts\[0\]/,
  ],
  [
    'the variable with another value',
    asking('web', {
      containers: [{ name: 'web', env: [{ name: 'PORTCULLIS_CREDENTIALS_TARGET', value: 'x' }] }],
    }),
    /^spec\.containers\[0\]\.env\[0\]: PORTCULLIS_CREDENTIALS_TARGET is set to something else/,
  ],
])('%s is refused', (_what, pod, said) => {
  expect(refusals(pod).join('\n')).toMatch(said)
})

test('a user’s own mount at that path is theirs where nobody asked', () => {
  const pod = written({ containers: [{ name: 'web', volumeMounts: [other] }], volumes: [{ name: 'data' }] })
  expect(refusals(pod)).toEqual([])
})

describe('Redis', () => {
  const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  const told = (redis: object) => {
    const { args } = injectionOf(profile({ redis }), FACTS)
    const at = args.indexOf('--redis')
    return { text: at < 0 ? undefined : args[at + 1], args }
  }
  const env = {
    POD_UID: 'u',
    POD_NAME: 'p',
    POD_NAMESPACE: 'n',
    POD_SERVICE_ACCOUNT: 's',
    POD_IP: '10.0.0.1',
  }

  test('is one argument, and none where the profile has none', () => {
    expect(injectionOf(profile(), FACTS).args).not.toContain('--redis')
    expect(JSON.parse(told({ endpoints: ['redis.shop.svc:6379'] }).text ?? '')).toEqual({
      mode: 'standalone',
      nodes: ['redis.shop.svc:6379'],
      keyPrefix: 'portcullis',
      replicas: 0,
      tls: {},
    })
  })

  test.each([
    [{ endpoints: ['redis.shop.svc:6379'] }],
    [{ endpoints: ['a:1'], tls: 'Off' }],
    [
      {
        mode: 'Sentinel',
        endpoints: ['s-1:26379', 's-0:26379'],
        sentinelName: 'main',
        username: 'portcullis',
        keyPrefix: 'pc',
        replicas: 2,
        caBundle: PEM,
        serverName: 'redis.example',
      },
    ],
    [
      {
        mode: 'Cluster',
        endpoints: Array.from({ length: 8 }, (_, n) => `${'x'.repeat(240)}-${n}:65535`),
        caBundle: `${PEM}${'\n'.repeat(4000)}`,
      },
    ],
  ])('what the profile says, the sidecar understands: %#', (redis) => {
    const parsed = parseInjected(told(redis).args, env)
    // Of everything else only the anchors are missing here.
    const problems = parsed.ok ? [] : parsed.problems
    expect(problems.filter((one) => !one.startsWith('PORTCULLIS_TRUST_ANCHORS'))).toEqual([])
  })

  test('another Redis is another mark', () => {
    const marks = [{}, { redis: { endpoints: ['a:1'] } }, { redis: { endpoints: ['b:1'] } }].map((spec) =>
      markOf(profile(spec), FACTS),
    )
    expect(new Set(marks).size).toBe(3)
  })
})
