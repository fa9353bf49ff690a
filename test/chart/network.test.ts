import { beforeAll, expect, test } from 'vitest'
import { type Manifest, rendered } from './helm.ts'

// The policies as a whole: everything denied, then exactly these flows. Nothing here enforces them.

let policies: readonly Manifest[]
let pods: readonly Manifest[]
beforeAll(async () => {
  const all = await rendered()
  policies = all.filter(
    ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === 'portcullis-system',
  )
  pods = all
    .filter(({ kind }) => kind === 'Deployment' || kind === 'Job')
    .map(({ metadata: { name }, spec: { template } }) => ({ name, labels: template.metadata.labels }))
})

const selects = (policy: Manifest, labels: Readonly<Record<string, string>>) =>
  Object.entries(policy.spec.podSelector.matchLabels ?? {}).every(([key, value]) => labels[key] === value)

function flows(pod: string, direction: 'ingress' | 'egress'): readonly string[] {
  const { labels } = pods.find(({ name }) => name === pod)
  const found = policies
    .filter((policy) => selects(policy, labels))
    .flatMap(({ spec }) => spec[direction] ?? [])
    .flatMap((rule: Manifest) => {
      const peers = (rule.from ?? rule.to ?? [{ anybody: true }]).map(peerOf)
      return peers.flatMap((peer: string) =>
        rule.ports.map(({ protocol, port }: Manifest) => `${peer} ${protocol}/${port}`),
      )
    })
  return [...new Set(found)].toSorted() as readonly string[]
}

function peerOf(peer: Manifest): string {
  if (peer.ipBlock) return peer.ipBlock.cidr
  if (peer.podSelector) return peer.podSelector.matchLabels['app.kubernetes.io/component']
  return peer.namespaceSelector ? 'any pod' : 'anybody'
}

const EVERYWHERE = ['0.0.0.0/0', '::/0']
const NAMES = ['any pod TCP/53', 'any pod UDP/53']
const API = EVERYWHERE.flatMap((range) => [`${range} TCP/443`, `${range} TCP/6443`])

test('whatever is not named gets nothing in and nothing out', () => {
  const stranger = policies.filter((policy) => selects(policy, { app: 'stranger' }))
  expect(stranger).toHaveLength(1)
  expect(stranger[0].spec).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] })
})

test.each([
  ['portcullis-issuer', ['any pod TCP/8080', 'any pod TCP/8444'], [...API, ...NAMES]],
  [
    'portcullis-control',
    ['any pod TCP/8080', 'any pod TCP/8443', 'anybody TCP/10250'],
    [...API, ...NAMES, 'control TCP/8443', 'issuer TCP/8444'],
  ],
  ['portcullis-cleanup', [], [...API, ...NAMES]],
])('%s', (pod, ingress, egress) => {
  expect(flows(pod, 'ingress')).toEqual(ingress.toSorted())
  expect(flows(pod, 'egress')).toEqual(egress.toSorted())
})

test('with the addresses of the API server and of providers given, nothing else is reachable', async () => {
  const set = 'networkPolicy={"apiServer":{"cidrs":["10.0.0.1/32"],"ports":[6443]},"fetch":{"cidrs":[]}}'
  policies = (await rendered('--set-json', set)).filter(
    ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === 'portcullis-system',
  )
  expect(flows('portcullis-issuer', 'egress')).toEqual(['10.0.0.1/32 TCP/6443', ...NAMES])
  expect(flows('portcullis-control', 'egress')).toEqual(
    ['10.0.0.1/32 TCP/6443', ...NAMES, 'control TCP/8443', 'issuer TCP/8444'].toSorted(),
  )
})

test.each([
  [['10.7.0.0/16'], ['10.7.0.0/16 TCP/26379', '10.7.0.0/16 TCP/6379']],
  // An empty list of peers would be everybody (NetworkPolicy, `to`).
  [[], []],
])('Redis at %j, and logout tokens from one namespace', async (cidrs, toRedis) => {
  const redis = JSON.stringify({ enabled: true, endpoints: ['redis.data.svc:6379'], cidrs })
  const logout = JSON.stringify({ enabled: true, from: { 'kubernetes.io/metadata.name': 'ingress' } })
  policies = (await rendered('--set-json', `redis=${redis}`, '--set-json', `logout=${logout}`)).filter(
    ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.namespace === 'portcullis-system',
  )
  expect(flows('portcullis-control', 'egress')).toEqual(
    [...API, ...NAMES, 'control TCP/8443', 'issuer TCP/8444', ...toRedis].toSorted(),
  )
  const rules = policies.flatMap(({ spec }) => spec.ingress ?? [])
  expect(rules.filter(({ ports }) => ports[0].port === 8445)).toEqual([
    {
      from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ingress' } } }],
      ports: [{ protocol: 'TCP', port: 8445 }],
    },
  ])
  expect(flows('portcullis-issuer', 'egress')).toEqual([...API, ...NAMES].toSorted())
})
