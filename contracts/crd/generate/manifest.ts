import { createHash } from 'node:crypto'
import { CATEGORY, GROUP, SCHEMA_HASH, VERSION } from '../../crd.ts'
import type { Column, Definition } from '../definition.ts'
import { lint } from './lint.ts'
import { type Structural, structural } from './structural.ts'

/** A kind as it is installed, and the parts the other generated files need. */
export interface Manifest {
  readonly definition: Definition
  readonly schema: Structural
  /** Hex SHA-256 of the CRD's spec. */
  readonly hash: string
  readonly object: object
}

/** The CustomResourceDefinition of a kind. Throws with every place that breaks a convention. */
export function manifest(definition: Definition): Manifest {
  const { resource, columns } = definition
  const schema = schemaOf(definition)
  const problems = ['spec', 'status'].flatMap((part) =>
    lint(schema.properties?.[part] ?? {}, `${resource.kind}.${part}`),
  )
  if (problems.length > 0) throw new TypeError(problems.join('\n'))
  const spec = {
    group: GROUP,
    names: {
      kind: resource.kind,
      listKind: `${resource.kind}List`,
      plural: resource.plural,
      singular: resource.singular,
      shortNames: [resource.shortName],
      categories: [CATEGORY],
    },
    scope: resource.scope,
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [READY, ...columns, WHY, AGE].map(printed),
        schema: { openAPIV3Schema: schema },
      },
    ],
  }
  const hash = createHash('sha256').update(JSON.stringify(spec)).digest('hex')
  const object = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${resource.plural}.${GROUP}`, annotations: { [SCHEMA_HASH]: hash } },
    spec,
  }
  return { definition, schema, hash, object }
}

function schemaOf({ about, spec, status, resource }: Definition): Structural {
  return {
    description: about,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { description: `Always ${GROUP}/${VERSION}.`, type: 'string', maxLength: 64 },
      kind: { description: `Always ${resource.kind}.`, type: 'string', maxLength: 64 },
      // The API server describes it itself and refuses a second description.
      metadata: { type: 'object' },
      spec: structural(spec, `${resource.kind}.spec`),
      status: structural(status, `${resource.kind}.status`),
    },
  }
}

const READY: Column = {
  name: 'Ready',
  jsonPath: '.status.conditions[?(@.type=="Ready")].status',
  description: 'Whether it is in force.',
}
const WHY: Column = {
  name: 'Why',
  jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
  description: 'Reason of Ready.',
  wide: true,
}
const AGE: Column = {
  name: 'Age',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since when it exists.',
  type: 'date',
}

function printed({ name, jsonPath, description, type = 'string', wide }: Column): object {
  return { name, type, jsonPath, description, ...(wide ? { priority: 1 } : {}) }
}
