import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { API_VERSION } from '../../../contracts/crd.ts'
import { DECLARED } from '../../../operator/record/declared.ts'
import { createMetrics } from '../../../sidecar/record/metrics.ts'
import { READINGS } from '../../sidecar/record/readings.ts'
import { ALL_ROWS } from './rows/all.ts'

// What is copied from the documents at three in the morning is accepted as it stands, and says what its writer meant.

const ROOT = resolve(import.meta.dirname, '../../..')
const textOf = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Written {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: Readonly<Record<string, unknown>>
}

const BLOCKS = [/^```yaml\n(.*?)^```$/gms, /<<'?YAML'?\n(.*?)\nYAML\n/gs]

function objectsIn(path: string): readonly Written[] {
  const texts = BLOCKS.flatMap((form) => [...textOf(path).matchAll(form)].map(([, text = '']) => text))
  return texts.flatMap((text) =>
    parseAllDocuments(text).map((one) => {
      expect(one.errors, text).toEqual([])
      return one.toJS() as Written
    }),
  )
}

describe.each([
  ['docs/operations.md', ['KeyRotation', 'Revocation']],
  ['docs/install.md', ['AccessPolicy', 'PolicyBundle']],
])('%s', (path, kinds) => {
  const ours = objectsIn(path).filter(({ apiVersion }) => apiVersion === API_VERSION)

  test('shows objects of ours', () => {
    expect([...new Set(ours.map(({ kind }) => kind))].sort()).toEqual(kinds)
  })

  test.each(ours.map((one, index) => [`${one.kind} ${one.metadata.name} (${index + 1})`, one] as const))(
    '%s is accepted, with every member that is written',
    (_name, object) => {
      const rows = ALL_ROWS.find(({ definition }) => definition.resource.kind === object.kind)
      const parsed = rows?.parse(object)
      // A member that the schema does not know would be dropped without a word.
      expect(parsed).toMatchObject({ ok: true, value: { spec: object.spec } })
    },
  )
})

describe('docs/operations.md', () => {
  const page = textOf('docs/operations.md')

  test('is short enough to be read in time', () => {
    expect(page.split('\n').length - 1).toBeLessThanOrEqual(150)
  })

  test('names metrics that exist', async () => {
    const sidecar = await createMetrics(READINGS).text()
    const known = new Set([
      ...Object.keys(DECLARED),
      ...[...sidecar.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name),
    ])
    const named = [...page.matchAll(/`((?:portcullis|leader)_[a-z_]+)`/g)].map(([, name]) => name)
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !known.has(name ?? ''))).toEqual([])
  })

  test('deletes by hand only what the chart has under that name', () => {
    const admission = ['webhooks', 'guard'].map((name) =>
      textOf(`charts/portcullis/templates/admission/${name}.yaml`),
    )
    const all = `${admission.join('\n')}${textOf('charts/portcullis/templates/_portcullis.tpl')}`
    const named = [...page.matchAll(/kubectl delete [a-z]+ ([a-z -]+?)`/g)].flatMap(([, names = '']) =>
      names.split(' '),
    )
    expect(named.length).toBe(4)
    expect(named.filter((name) => !all.includes(name))).toEqual([])
  })
})
