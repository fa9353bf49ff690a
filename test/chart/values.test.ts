import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { generatedChart } from '../../contracts/values/generate.ts'
import { VALUES as SCHEMA } from '../../contracts/values/values.ts'
import { ROOT } from '../cluster-node/tool.ts'
import { CHART, type Helm, NAMESPACE, openHelm, VALUES } from './helm.ts'

// What an installation may be told, and that a slip is refused before anything happens.

const text = readFileSync(join(CHART, 'values.yaml'), 'utf8')
const defaults = parse(text, { version: '1.1' })
let helm: Helm & Disposable
beforeAll(async () => {
  helm = await openHelm()
})
afterAll(() => helm[Symbol.dispose]())

const tell = (...more: readonly string[]) =>
  helm('template', 'portcullis', CHART, '-n', NAMESPACE, '-f', VALUES, ...more)

test.each([...generatedChart()])('%s is committed as generated', (path, generated) => {
  expect(readFileSync(join(ROOT, path), 'utf8') === generated, `${path}: run make generate`).toBe(true)
})

test('no CRD is left over from a kind that is gone', () => {
  const committed = globSync('charts/portcullis/templates/crds/*', { cwd: ROOT }).sort()
  expect(committed).toEqual([...generatedChart().keys()].filter((path) => path.endsWith('.yaml')).sort())
})

test('values.yaml is short, and every default is one that the schema takes', () => {
  expect(text.split('\n').length).toBeLessThanOrEqual(120)
  const refused = SCHEMA.safeParse(defaults).error?.issues.map(({ path }) => path.join('.'))
  expect(refused).toEqual(['trustDomain', 'image.repository', 'sidecar.image'])
})

test('every value of the schema has its default and its comment in values.yaml', () => {
  const asked = leaves(z.toJSONSchema(SCHEMA, { io: 'input' }) as Node)
  const missing = asked.filter((path) => at(defaults, path) === undefined && !text.includes(`#   ${path}`))
  expect(missing).toEqual(['image.digest', 'image.tag', 'sidecar.image.digest', 'global'])
  for (const name of ['image.digest', 'tag:', 'sidecar.image.repository, .digest'])
    expect(text).toContain(name)
})

describe('refused before anything is installed', () => {
  test.each([
    [
      'a value that there is not',
      ['--set', 'replicaCount=3'],
      /additional properties 'replicaCount' not allowed/,
    ],
    [
      'a slip deep inside',
      ['--set', 'sidecar.leases.strikt=5s'],
      /additional properties 'strikt' not allowed/,
    ],
    ['an image of the sidecar by tag', ['--set', 'sidecar.image.digest=latest'], /does not match pattern/],
    ['no image of the sidecar', ['--set', 'sidecar.image=null'], /missing property 'image'|got null/],
    ['a trust domain that is a URL', ['--set', 'trustDomain=spiffe://a'], /does not match pattern/],
    ['no trust domain', ['--set', 'trustDomain=null'], /missing property 'trustDomain'|got null/],
    ['an unquoted On', ['--set-json', 'sidecar.decisionLog=true'], /decisionLog/],
    ['no replica', ['--set', 'control.replicas=0'], /minimum/],
    [
      'a monitor without the Prometheus operator',
      ['--set', 'metrics.podMonitor.enabled=true'],
      /install the Prometheus operator first/,
    ],
  ])('%s', async (_, args, why) => {
    const said = await tell(...args)
    expect(said.code).not.toBe(0)
    expect(said.err).toMatch(why)
  })
})

test('an operator with neither digest nor tag is refused, one by tag gets a warning', async () => {
  const bare = ['trustDomain=cluster.example', 'image.repository=r/o', 'sidecar.image.repository=r/s']
  const set = [...bare, `sidecar.image.digest=sha256:${'b'.repeat(64)}`].flatMap((one) => ['--set', one])
  const none = await helm('template', 'portcullis', CHART, ...set)
  expect(none.err).toMatch(/give image.digest/)
  const install = ['install', 'portcullis', CHART, '--dry-run=client', ...set]
  expect((await helm(...install, '--set', 'image.tag=dev')).out).toContain('WARNING: image.tag')
  expect((await helm(...install, '--set', `image.digest=sha256:${'a'.repeat(64)}`)).out).not.toContain(
    'WARNING',
  )
})

test('what is told arrives: each of these changes what is rendered', async () => {
  const base = (await tell()).out
  const changes = [
    'trust.rootTTL=9000h',
    'trust.svidTTL=30m',
    'trust.jwtTTL=2m',
    'trust.refreshHint=1m',
    'sidecar.leases.strict=4s',
    'sidecar.leases.standard=50s',
    'sidecar.leases.readDegraded=10m',
    'sidecar.resources.memoryLimit=256Mi',
    'sidecar.decisionLog=Off',
    'sidecar.checkPort=7171',
    'sidecar.adminPort=9191',
    'sidecar.pullPolicy=Never',
    'image.pullPolicy=Always',
    'imagePullSecrets[0].name=pull',
    'control.replicas=3',
    'issuer.replicas=3',
    'control.resources.limits.memory=2Gi',
    'issuer.resources.limits.cpu=500m',
    'configMapNamespaces={a}',
    'priorityClassName=system-cluster-critical',
    'nodeSelector.a=b',
    'tolerations[0].operator=Exists',
    'crds.enabled=false',
    'defaults.enabled=false',
    'cleanup.enabled=false',
    'networkPolicy.enabled=false',
    'networkPolicy.metricsFrom.a=b',
    'networkPolicy.fetch.ports={8443}',
  ] // prettier-ignore
  for (const change of changes) {
    const said = await tell('--set', change)
    expect(said.err, change).toBe('')
    expect(said.out === base, change).toBe(false)
  }
})

interface Node {
  readonly properties?: Readonly<Record<string, Node>>
}

function leaves({ properties }: Node, path = ''): readonly string[] {
  if (!properties) return [path]
  return Object.entries(properties).flatMap(([name, node]) => leaves(node, path ? `${path}.${name}` : name))
}

function at(value: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (inside, name) => (inside as Readonly<Record<string, unknown>> | undefined)?.[name],
      value,
    )
}
