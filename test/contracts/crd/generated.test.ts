import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { generated } from '../../../contracts/crd/generate/generate.ts'
import { SCHEMA_HASHES } from '../../../contracts/crd/schema-hashes.ts'
import { CONDITIONS, type Kind, RESOURCES, SCHEMA_HASH } from '../../../contracts/crd.ts'

// What is committed is what the schemas give, byte for byte.

const ROOT = resolve(import.meta.dirname, '../../..')
const files = generated()

test.each([...files])('%s is committed as generated', (path, text) => {
  expect(readFileSync(join(ROOT, path), 'utf8') === text, `${path}: run make generate`).toBe(true)
})

test('twice gives the same', () => {
  expect([...generated()]).toEqual([...files])
})

test('no manifest is left over from a kind that is gone', () => {
  const committed = globSync('contracts/crd/*.yaml', { cwd: ROOT }).sort()
  expect(committed).toEqual([...files.keys()].filter((path) => path.endsWith('.yaml')).sort())
})

describe.each(Object.values(RESOURCES))('$kind', (resource) => {
  const crd = parse(files.get(`contracts/crd/${resource.plural}.yaml`) ?? '')
  const [version] = crd.spec.versions

  test('has the names, category and hash of its descriptor', () => {
    expect(crd.metadata).toEqual({
      name: `${resource.plural}.portcullis.dev`,
      annotations: { [SCHEMA_HASH]: SCHEMA_HASHES[resource.kind] },
    })
    expect(crd.spec).toMatchObject({
      group: 'portcullis.dev',
      scope: resource.scope,
      names: {
        kind: resource.kind,
        plural: resource.plural,
        shortNames: [resource.shortName],
        categories: ['portcullis'],
      },
    })
    expect(version).toMatchObject({
      name: 'v1alpha1',
      served: true,
      storage: true,
      subresources: { status: {} },
    })
  })

  test('shows Ready first and Age last', () => {
    const names = version.additionalPrinterColumns.map(({ name }: { readonly name: string }) => name)
    expect([names[0], names.at(-1)]).toEqual(['Ready', 'Age'])
  })

  test('has conditions by type, observedGeneration, and Ready among its types', () => {
    const { conditions, observedGeneration } = version.schema.openAPIV3Schema.properties.status.properties
    expect(conditions).toMatchObject({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
    })
    expect(Object.keys(conditions.items.properties)).toEqual([
      'type',
      'status',
      'reason',
      'message',
      'lastTransitionTime',
      'observedGeneration',
    ])
    expect(observedGeneration.format).toBe('int64')
    expect(CONDITIONS[resource.kind as Kind]).toContain('Ready')
  })

  test('holds nothing that a chart would take for a template', () => {
    expect(files.get(`contracts/crd/${resource.plural}.yaml`)).not.toMatch(/\{\{|\}\}/)
  })

  test('has a chapter in the reference with a row for each field of its spec', () => {
    const [, chapter = ''] = (files.get('docs/reference/crds.md') ?? '').split(`\n## ${resource.kind}\n`)
    const page = chapter.split('\n## ')[0] ?? ''
    for (const name of Object.keys(version.schema.openAPIV3Schema.properties.spec.properties)) {
      expect(page).toContain(`| \`spec.${name}\` |`)
    }
  })
})

test('whoever runs beside an application never loads the schemas', () => {
  const outside = globSync(['sidecar/**/*.ts', 'contracts/**/*.ts'], { cwd: ROOT }).filter(
    (path) => !path.startsWith('contracts/crd/') && !path.startsWith('contracts/values/'),
  )
  const loads = /from '(zod|[./]+(contracts\/)?crd\/[^']+)'/
  expect(outside.filter((path) => loads.test(readFileSync(join(ROOT, path), 'utf8')))).toEqual([])
  expect(
    loads.test("import { z } from 'zod'") && loads.test("import x from '../contracts/crd/forms.ts'"),
  ).toBe(true)
})
