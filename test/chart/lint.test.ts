import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { openTools, type Tools } from '../cluster-node/tool.ts'
import { CHART, type Manifest, named, openHelm, rendered, run, VALUES } from './helm.ts'

// What others say about the chart. An exception has its reason here, and goes when nothing needs it any more.

const EXCEPTIONS = {
  'container-image-pull-policy':
    'images are named by digest, so the node cannot have another one under that name; Always would make a registry that is down a pod that does not start',
  'deployment-has-host-podantiaffinity':
    'topologySpreadConstraints over zones and nodes say the same and more; kube-score looks for podAntiAffinity only',
} as const

const EVERYTHING = ['podMonitor', 'serviceMonitor', 'prometheusRule'].flatMap((one) => [
  '--set',
  `metrics.${one}.enabled=true`,
])
const MONITORED = [...EVERYTHING, '--api-versions', 'monitoring.coreos.com/v1']

let tools: Tools<'kube-score' | 'helm-unittest' | 'promtool'>
let directory: string
beforeAll(async () => {
  tools = await openTools(['kube-score', 'helm-unittest', 'promtool'])
  directory = mkdtempSync(join(tmpdir(), 'portcullis-lint-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const rulesOf = (rule: Manifest): readonly Manifest[] =>
  rule.spec.groups.flatMap((group: Manifest) => group.rules)

function written(manifests: readonly Manifest[]): string {
  const file = join(directory, 'all.yaml')
  writeFileSync(file, manifests.map((one) => stringify(one, { version: '1.1' })).join('---\n'))
  return file
}

test('helm lint, strict, has nothing to say', async () => {
  using helm = await openHelm()
  const said = await helm('lint', CHART, '--strict', '-f', VALUES)
  const words = said.out.split('\n').filter((line) => /^\[/.test(line))
  expect(words).toEqual(['[INFO] Chart.yaml: icon is recommended'])
  expect(said.code).toBe(0)
})

describe('kube-score', () => {
  interface Scored {
    readonly object_name: string
    readonly checks: readonly {
      readonly check: { readonly id: string }
      readonly grade: number
      readonly skipped: boolean
    }[]
  }
  const CRITICAL_OR_WARNING = 5
  const findings = async () => {
    const said = await run(tools['kube-score'], [
      'score',
      '--output-format',
      'json',
      written(await rendered()),
    ])
    const scored = JSON.parse(said.out) as readonly Scored[]
    expect(scored.map(({ object_name }) => object_name.split('/').at(-1))).toEqual(
      expect.arrayContaining([
        'portcullis-control',
        'portcullis-issuer',
        'portcullis-cleanup',
        'prepare',
        'ask',
      ]),
    )
    return scored.flatMap(({ object_name, checks }) =>
      checks
        .filter(({ grade, skipped }) => !skipped && grade <= CRITICAL_OR_WARNING)
        .map(({ check: { id } }) => ({ id, object: object_name })),
    )
  }

  test('finds nothing that has no reason, and every reason is needed', async () => {
    const found = await findings()
    expect(found.filter(({ id }) => !Object.hasOwn(EXCEPTIONS, id))).toEqual([])
    expect([...new Set(found.map(({ id }) => id))].toSorted()).toEqual(Object.keys(EXCEPTIONS))
  })
})

test('the suites of helm-unittest pass', async () => {
  const said = await run(tools['helm-unittest'], ['--strict', CHART])
  expect(said.code, said.out + said.err).toBe(0)
  expect(said.out).toMatch(/Tests:\s+[1-9][0-9]* passed/)
})

describe('the alerts', () => {
  let rule: Manifest
  beforeAll(async () => {
    rule = named(await rendered(...MONITORED), 'PrometheusRule', 'portcullis')
  })

  test('are rules for Prometheus', async () => {
    const file = join(directory, 'rules.yaml')
    writeFileSync(file, stringify(rule.spec))
    const said = await run(tools.promtool, ['check', 'rules', '--lint=none', file])
    expect(said).toMatchObject({ code: 0, err: '' })
    expect(said.out).toContain(`SUCCESS: ${rulesOf(rule).length} rules found`)
  })

  test('each says what is the matter and what to do', () => {
    for (const { alert, annotations, labels } of rulesOf(rule).filter((one) => one.alert)) {
      expect(Object.keys(annotations), alert).toEqual(['runbook_url', 'summary', 'description'])
      expect(annotations.runbook_url, alert).toBe(`docs/runbook/${alert}.md`)
      expect(annotations.description.length, alert).toBeGreaterThan(40)
      expect(['critical', 'warning'], alert).toContain(labels.severity)
    }
  })
})

test('monitors select by what the pods really carry', async () => {
  const all = await rendered(...MONITORED)
  const { selector, endpoints } = named(all, 'ServiceMonitor', 'portcullis').spec
  for (const name of ['portcullis-control', 'portcullis-issuer']) {
    const service = named(all, 'Service', name)
    expect(service.metadata.labels).toMatchObject(selector.matchLabels)
    expect(service.spec.ports.map(({ name: port }: Manifest) => port)).toContain(endpoints[0].port)
  }
})
