import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { parseSidecarProfile } from '../../contracts/crd/sidecar-profile.ts'
import { parseTrustDomain } from '../../contracts/crd/trust-domain.ts'
import { readConfig } from '../../operator/config.ts'
import { injectionOf, SIDECAR, sidecarOf } from '../../operator/inject/sidecar.ts'
import { ROOT } from '../cluster-node/tool.ts'
import { CHART, hookOf, type Manifest, NAMESPACE, named, rendered } from './helm.ts'

// What the chart tells the programs is what they understand, and what they look for is there.

let all: readonly Manifest[]
beforeAll(async () => {
  all = await rendered()
})

const FROM_POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' }

/** Arguments and environment as the kubelet would give them. */
function started(container: Manifest) {
  const env = Object.fromEntries(
    container.env.map(({ name, valueFrom }: Manifest) => [
      name,
      name === 'POD_NAMESPACE' ? NAMESPACE : `<${valueFrom.fieldRef.fieldPath}>`,
    ]),
  ) as Readonly<Record<string, string>>
  const args = container.args.map((arg: string) =>
    arg.replaceAll(/\$\((\w+)\)/g, (_, name: string) => env[name] ?? ''),
  )
  return readConfig(args, { ...env, ...FROM_POD })
}

describe.each(['control', 'issuer'] as const)('%s', (program) => {
  const podOf = () => named(all, 'Deployment', `portcullis-${program}`).spec.template

  test('reads its arguments and environment without a problem, and means the same as the chart', () => {
    const { ports, args } = { ports: portsOf(podOf()), args: started(podOf().spec.containers[0]) }
    if (!args.ok) throw new Error(args.problems.join('\n'))
    const { config } = args
    expect(config).toMatchObject({
      role: program,
      namespace: NAMESPACE,
      trustDomain: 'cluster.example',
      audience: 'portcullis.dev/cluster.example',
      issuer: `portcullis-issuer.${NAMESPACE}.svc:8444`,
      profile: 'default',
      pod: { name: '<metadata.name>', uid: '<metadata.uid>', ip: '<status.podIP>', node: '<spec.nodeName>' },
    })
    for (const [name, port] of Object.entries(ports)) expect(config.ports).toHaveProperty(name, port)
  })

  test('finds both tokens where it looks for them', () => {
    const { volumes, containers, automountServiceAccountToken } = podOf().spec
    const places = Object.fromEntries(
      containers[0].volumeMounts.map(({ name, mountPath }: Manifest) => [
        mountPath,
        volumes.find((one: Manifest) => one.name === name),
      ]),
    )
    expect(automountServiceAccountToken).toBe(false)
    expect(places['/var/run/secrets/portcullis'].projected.sources).toEqual([
      {
        serviceAccountToken: {
          audience: 'portcullis.dev/cluster.example',
          expirationSeconds: 600,
          path: 'token',
        },
      },
    ])
    const access = places['/var/run/secrets/kubernetes.io/serviceaccount'].projected.sources
    expect(access.map((source: Manifest) => Object.keys(source)[0])).toEqual([
      'serviceAccountToken',
      'configMap',
      'downwardAPI',
    ])
    expect(access[0].serviceAccountToken).not.toHaveProperty('audience')
  })

  test('is reached by its service, kept two by its budget, and never asks for a sidecar', () => {
    const labels = podOf().metadata.labels
    const service = named(all, 'Service', `portcullis-${program}`)
    expect(labels).toMatchObject(service.spec.selector)
    expect(Object.keys(portsOf(podOf()))).toEqual(
      expect.arrayContaining(service.spec.ports.map(({ targetPort }: Manifest) => targetPort)),
    )
    const budget = named(all, 'PodDisruptionBudget', `portcullis-${program}`)
    expect(budget.spec).toMatchObject({ maxUnavailable: 1, selector: { matchLabels: service.spec.selector } })
    expect(labels['portcullis.dev/inject']).toBe('disabled')
    const { replicas, strategy } = named(all, 'Deployment', `portcullis-${program}`).spec
    expect({ replicas, ...strategy.rollingUpdate }).toEqual({ replicas: 2, maxUnavailable: 0, maxSurge: 1 })
  })

  test('is sent traffic by /readyz and started again by /livez, of a port that it listens on', () => {
    const [{ readinessProbe, livenessProbe, ports }] = podOf().spec.containers
    expect([readinessProbe.httpGet, livenessProbe.httpGet]).toEqual([
      { path: '/readyz', port: 'admin' },
      { path: '/livez', port: 'admin' },
    ])
    expect(ports).toContainEqual({ name: 'admin', containerPort: 8080, protocol: 'TCP' })
  })

  test('writes nowhere but into a bounded /tmp', () => {
    const { volumes, containers } = podOf().spec
    expect(containers[0].securityContext.readOnlyRootFilesystem).toBe(true)
    const writable = containers[0].volumeMounts.filter(({ readOnly }: Manifest) => !readOnly)
    expect(writable.map(({ mountPath }: Manifest) => mountPath)).toEqual(['/tmp'])
    expect(volumes.find(({ name }: Manifest) => name === 'tmp').emptyDir.sizeLimit).toMatch(/Mi$/)
  })
})

test.each([
  [{}, { logoutPort: undefined, logoutBehindIngress: false }],
  [{ enabled: true }, { logoutPort: 8445, logoutBehindIngress: false }],
  [
    { enabled: true, from: { 'kubernetes.io/metadata.name': 'ingress' } },
    { logoutPort: 8445, logoutBehindIngress: true },
  ],
])('logout tokens: %j, and an ingress is believed where only it can connect', async (logout, expected) => {
  const found = await rendered('--set-json', `logout=${JSON.stringify(logout)}`)
  const { containers } = named(found, 'Deployment', 'portcullis-control').spec.template.spec
  expect(started(containers[0])).toMatchObject({ ok: true, config: expected })
})

const portsOf = (pod: Manifest): Readonly<Record<string, number>> =>
  Object.fromEntries(
    pod.spec.containers[0].ports.map(({ name, containerPort }: Manifest) => [name, containerPort]),
  )

test('webhooks call a port that the service of control has', () => {
  const ports = named(all, 'Service', 'portcullis-control').spec.ports.map(({ port }: Manifest) => port)
  const called = all
    .filter(({ kind }) => /WebhookConfiguration$/.test(kind))
    .flatMap(({ webhooks }) => webhooks.map(({ clientConfig: { service } }: Manifest) => service))
  expect(called.length).toBeGreaterThan(0)
  for (const { name, namespace, port } of called) {
    expect({ name, namespace }).toEqual({ name: 'portcullis-control', namespace: NAMESPACE })
    expect(ports).toContain(port ?? 443)
  }
})

test('sidecars are sent to ports that the services have', () => {
  const profile = parseSidecarProfile(named(all, 'SidecarProfile', 'default'))
  if (!profile.ok) throw new Error(JSON.stringify(profile))
  const facts = { systemNamespace: NAMESPACE, trustDomain: 'cluster.example', trustAnchors: ['-'] }
  const { args } = injectionOf({ name: 'default', spec: profile.value.spec }, facts)
  for (const flag of ['--feed', '--issuer']) {
    const [host = '', port] = (args[args.indexOf(flag) + 1] ?? '').split(':')
    const { spec } = named(all, 'Service', host.split('.')[0] ?? '')
    expect(spec.ports.map((one: Manifest) => one.port)).toContain(Number(port))
  }
  const container = sidecarOf({ name: 'default', spec: profile.value.spec }, facts)
  expect(JSON.stringify(container.ports)).toContain(`"name":"${SIDECAR}"`)
})

test('the defaults are objects that the operator reads, with every value of values.yaml', () => {
  const { trust, sidecar } = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8'))
  const domain = parseTrustDomain(named(all, 'TrustDomain', 'cluster.example'))
  const profile = parseSidecarProfile(named(all, 'SidecarProfile', 'default'))
  if (!domain.ok || !profile.ok) throw new Error(JSON.stringify([domain, profile]))
  expect(domain.value.spec).toEqual({
    name: 'cluster.example',
    x509: { rootTTL: trust.rootTTL, svidTTL: trust.svidTTL },
    jwt: { svidTTL: trust.jwtTTL },
    bundle: { refreshHint: trust.refreshHint },
  })
  const { image, imagePullPolicy, resources, leases, decisionLog, checkPort, adminPort } = profile.value.spec
  expect(image).toMatch(/^registry.example\/portcullis\/sidecar@sha256:b{64}$/)
  expect({ pullPolicy: imagePullPolicy, resources, leases, decisionLog, checkPort, adminPort }).toEqual(
    sidecar,
  )
})

test('what an upgrade must not delete and an uninstall must leave is a hook with a policy that deletes nothing', () => {
  const kept = all.filter(({ kind }) => /^(CustomResourceDefinition|TrustDomain|SidecarProfile)$/.test(kind))
  expect(kept).toHaveLength(10)
  for (const one of kept) {
    expect(hookOf(one)).toBe('pre-install,pre-upgrade')
    // Helm itself never deletes a CRD that is a hook.
    if (one.kind !== 'CustomResourceDefinition')
      expect(one.metadata.annotations['helm.sh/hook-delete-policy']).toBe('never')
  }
})

test('the version is that of the program', () => {
  const chart = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'))
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  expect([chart.version, chart.appVersion]).toEqual([version, version])
})

test('004-07: no private key, token or password is part of the chart', () => {
  expect(all.filter(({ kind }) => kind === 'Secret')).toEqual([])
  const written = JSON.stringify(all.filter(({ kind }) => kind !== 'CustomResourceDefinition'))
  expect(written.match(/PRIVATE KEY|eyJ[A-Za-z0-9_-]{8,}|"password"/g) ?? []).toEqual([])
})
