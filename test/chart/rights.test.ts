import { beforeAll, describe, expect, test } from 'vitest'
import { RESOURCES } from '../../contracts/crd.ts'
import { type Manifest, NAMESPACE, named, rendered } from './helm.ts'

// What the service accounts of a release may do, as the manifests say it. That the API server understands them so: test/cluster/chart.

interface Right {
  readonly holder: string
  /** Empty: the whole cluster. */
  readonly namespace: string
  readonly group: string
  readonly resource: string
  readonly verb: string
  readonly names: readonly string[]
}

let manifests: readonly Manifest[]
let rights: readonly Right[]
beforeAll(async () => {
  manifests = await rendered('--set', 'configMapNamespaces={rules-a,rules-b}')
  rights = manifests.flatMap((binding) => (/^(Cluster)?RoleBinding$/.test(binding.kind) ? held(binding) : []))
})

function held(binding: Manifest): readonly Right[] {
  const role = manifests.find(
    ({ kind, metadata: { name, namespace } }) =>
      kind === binding.roleRef.kind &&
      name === binding.roleRef.name &&
      (kind === 'ClusterRole' || namespace === binding.metadata.namespace),
  )
  if (!role) throw new Error(`${binding.metadata.name} binds a role that is not there`)
  return binding.subjects.flatMap((subject: Manifest) =>
    role.rules.flatMap((rule: Manifest) =>
      rule.apiGroups.flatMap((group: string) =>
        rule.resources.flatMap((resource: string) =>
          rule.verbs.map((verb: string) => ({
            holder: `${subject.namespace}/${subject.name}`,
            namespace: binding.kind === 'ClusterRoleBinding' ? '' : binding.metadata.namespace,
            group,
            resource,
            verb,
            names: rule.resourceNames ?? [],
          })),
        ),
      ),
    ),
  )
}

test('nobody reads a secret whose name is not written down, and none anywhere but in the own namespace', () => {
  const secrets = rights.filter(({ resource }) => /^(\*|secrets)(\/|$)/.test(resource))
  expect(secrets.filter(({ namespace }) => namespace === '')).toEqual([])
  const unnamed = secrets.filter(({ names, verb }) => names.length === 0 && verb !== 'create')
  expect(unnamed).toEqual([])
  const read = secrets.filter(({ verb }) => verb === 'get')
  expect(
    Object.fromEntries(read.map(({ holder, namespace, names }) => [`${holder} in ${namespace}`, names])),
  ).toEqual({
    [`${NAMESPACE}/portcullis-control in ${NAMESPACE}`]: ['portcullis-webhook-tls'],
    [`${NAMESPACE}/portcullis-issuer in ${NAMESPACE}`]: [
      'portcullis-ca',
      'portcullis-jwt-keys',
      'portcullis-bundle-keys',
    ],
    'portcullis-helm-test/prepare in portcullis-helm-test': ['helm-test-tokens'],
  })
})

test('no rule says "everything", and none lets its holder become more than it is', () => {
  const wild = rights.filter((right) => [right.group, right.resource, right.verb].includes('*'))
  expect(wild).toEqual([])
  const growing = rights.filter(
    ({ verb, resource }) =>
      /^(escalate|bind|impersonate|relax)$/.test(verb) ||
      /^(roles|clusterroles|rolebindings|clusterrolebindings|serviceaccounts|pods\/|nodes)/.test(resource),
  )
  expect(growing).toEqual([])
})

describe.each([
  [
    'control',
    [
      'admissionregistration.k8s.io mutatingwebhookconfigurations patch portcullis-inject',
      'admissionregistration.k8s.io validatingwebhookconfigurations patch portcullis-validate',
      'events.k8s.io events create',
      'events.k8s.io events patch',
      ...Object.values(RESOURCES).map(({ plural }) => `portcullis.dev ${plural}/status patch`),
    ],
  ],
  [
    'issuer',
    [
      'authentication.k8s.io tokenreviews create',
      'events.k8s.io events create',
      'events.k8s.io events patch',
      'portcullis.dev keyrotations create',
      'portcullis.dev keyrotations/status patch',
      'portcullis.dev trustdomains/status patch',
      'portcullis.dev workloadidentities/status patch',
    ],
  ],
] as const)('%s', (program, writes) => {
  const own = () => rights.filter(({ holder }) => holder === `${NAMESPACE}/portcullis-${program}`)

  test('writes in the cluster exactly this', () => {
    const cluster = own().filter(
      ({ namespace, verb }) => namespace === '' && !/^(get|list|watch)$/.test(verb),
    )
    const said = cluster.map(({ group, resource, verb, names }) =>
      [group, resource, verb, ...names].join(' '),
    )
    expect(said.toSorted()).toEqual(writes.toSorted())
  })

  test('reads no ConfigMap of a namespace that was not named', () => {
    const maps = own().filter(({ resource }) => resource === 'configmaps')
    const places = new Set(maps.map(({ namespace }) => namespace))
    expect([...places].toSorted()).toEqual(
      program === 'control' ? [NAMESPACE, 'rules-a', 'rules-b'] : [NAMESPACE],
    )
    expect(maps.filter(({ namespace, verb }) => namespace !== NAMESPACE && verb !== 'get')).toEqual([])
  })
})

test('control sees every kind, the issuer those that it needs', () => {
  const seen = (program: string) =>
    rights
      .filter(
        ({ holder, group, verb }) =>
          holder.endsWith(program) && group === 'portcullis.dev' && verb === 'watch',
      )
      .map(({ resource }) => resource)
  expect(seen('control').toSorted()).toEqual(
    Object.values(RESOURCES)
      .map(({ plural }) => plural)
      .toSorted(),
  )
  expect(seen('issuer')).toEqual(['trustdomains', 'keyrotations', 'workloadidentities', 'sidecarprofiles'])
})

test('the right to take admission away names every webhook and every binding that can refuse a pod, and is there at uninstall only', () => {
  const role = named(manifests, 'ClusterRole', 'portcullis-cleanup')
  const may = role.rules.flatMap(({ resourceNames }: Manifest) => resourceNames)
  const admission = manifests.filter(({ kind, metadata }) => {
    if (/WebhookConfiguration$/.test(kind)) return true
    return (
      kind === 'ValidatingAdmissionPolicyBinding' && metadata.name.match(/guard|outside|labels$|exec|token$/)
    )
  })
  expect(may.toSorted()).toEqual(admission.map(({ metadata }) => metadata.name).toSorted())
  const kinds = ['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Job']
  for (const kind of kinds) {
    const { annotations } = named(manifests, kind, 'portcullis-cleanup').metadata
    expect(annotations['helm.sh/hook']).toBe('pre-delete')
    expect(annotations['helm.sh/hook-delete-policy']).toContain('hook-succeeded')
  }
})

test('loosening is a right of its own, bound to nobody', () => {
  const relax = manifests.filter(
    ({ kind, rules }) => /Role$/.test(kind) && rules.some(({ verbs }: Manifest) => verbs.includes('relax')),
  )
  expect(relax.map(({ metadata }) => metadata.name)).toEqual(['portcullis-relax'])
  const bound = manifests.filter(({ roleRef }) => roleRef?.name === 'portcullis-relax')
  expect(bound).toEqual([])
  expect(relax[0].metadata.labels).not.toHaveProperty('rbac.authorization.k8s.io/aggregate-to-admin')
})

test('relax covers every kind that a policy asks it for', () => {
  const asked = manifests
    .filter(({ kind, metadata }) => kind === 'ValidatingAdmissionPolicy' && /-relax-/.test(metadata.name))
    .flatMap(({ spec }) =>
      spec.matchConstraints.resourceRules.flatMap(({ resources }: Manifest) => resources),
    )
  const given = named(manifests, 'ClusterRole', 'portcullis-relax').rules.flatMap(
    ({ resources }: Manifest) => resources,
  )
  expect(given.toSorted()).toEqual([...new Set(asked)].toSorted())
})
