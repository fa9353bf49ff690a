import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parseAccessPolicy } from '../../contracts/crd/access-policy.ts'
import { parsePolicyBundle } from '../../contracts/crd/policy-bundle.ts'
import { createCompile } from '../../operator/gather/compile.ts'
import { ROOT, tool } from '../cluster-node/tool.ts'
import { type Manifest, named, rendered } from './helm.ts'

// What the chart and the installation page carry for others to read: rules for the compiler.

const page = readFileSync(join(ROOT, 'docs/install.md'), 'utf8')
const documented: readonly Manifest[] = [...page.matchAll(/<<'?YAML'?\n(.*?)\nYAML\n/gs)].flatMap(
  ([, text = '']) =>
    parseAllDocuments(text.replaceAll('$OPERATOR_IMAGE', 'operator')).map((one) => one.toJS()),
)

describe.each([
  ['the chart', () => rendered()],
  ['docs/install.md', async () => documented],
])('%s', (_, all) => {
  let bundle: Manifest
  let policy: Manifest
  beforeAll(async () => {
    const found = await all()
    bundle = found.find(({ kind }) => kind === 'PolicyBundle')
    policy = found.find(({ kind }) => kind === 'AccessPolicy')
  })

  test('has rules that the operator compiles and whose tests pass', async () => {
    const parsed = parsePolicyBundle({ ...bundle, metadata: { ...bundle.metadata, uid: '1', generation: 1 } })
    if (!parsed.ok) throw new Error(JSON.stringify(parsed))
    const { source, tests } = parsed.value.spec
    const compile = createCompile({
      opa: await tool('opa'),
      policies: join(ROOT, 'policies'),
      sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
    })
    const modules = new Map((source.inline?.modules ?? []).map(({ path, rego }) => [path, rego]))
    const compiled = await compile({ modules, settings: '{}' }, tests, AbortSignal.timeout(60_000))
    expect(compiled).toMatchObject({ ok: true, bundle: { tests: 2 } })
  })

  test('attaches them to pods that ask for a sidecar', () => {
    expect(
      parseAccessPolicy({ ...policy, metadata: { ...policy.metadata, uid: '1', generation: 1 } }),
    ).toMatchObject({ ok: true })
    expect(policy.spec.bundle.name).toBe(bundle.metadata.name)
  })
})

test('the page can be followed: blocks for a shell, in order, and short', () => {
  expect(page.split('\n').length).toBeLessThanOrEqual(150)
  const blocks = [...page.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block)
  expect(blocks.length).toBe(5)
  const asked = named(documented, 'Deployment', 'shop').spec.template
  expect(asked.metadata.labels).toMatchObject(
    named(documented, 'AccessPolicy', 'shop').spec.selector.matchLabels,
  )
  expect(asked.metadata.labels['portcullis.dev/inject']).toBe('enabled')
})

describe('the dashboard', () => {
  test('is in nobody’s way unless it is asked for', async () => {
    expect((await rendered()).filter(({ metadata }) => metadata.name === 'portcullis-dashboard')).toEqual([])
  })

  test('000-31: is found by its label, and comes as it is written', async () => {
    const all = await rendered('--set', 'metrics.dashboard.enabled=true')
    const { metadata, data } = named(all, 'ConfigMap', 'portcullis-dashboard')
    expect(metadata.labels).toMatchObject({ grafana_dashboard: '1' })
    const written = readFileSync(join(ROOT, 'charts/portcullis/dashboards/tokens.json'), 'utf8')
    expect(JSON.parse(data['portcullis-tokens.json'])).toEqual(JSON.parse(written))
  })
})
