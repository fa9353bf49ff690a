import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Api } from '../cluster-node/api.ts'

// What the API server itself says its objects look like, as kubeconform reads it: one JSON schema a kind, closed.

type Schema = { readonly [name: string]: unknown }

interface Kind {
  readonly group: string
  readonly version: string
  readonly kind: string
}

/** Writes `<group>_<version>_<kind>.json` for each; gives the location for kubeconform. */
export async function writeSchemas(
  api: Api,
  groupVersions: readonly string[],
  directory: string,
): Promise<string> {
  for (const groupVersion of groupVersions) {
    const path = groupVersion.includes('/') ? `apis/${groupVersion}` : `api/${groupVersion}`
    const document = JSON.parse(await api.kubectl(['get', '--raw', `/openapi/v3/${path}`])) as {
      readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
    }
    const { schemas } = document.components
    const definitions = closed(schemas) as Readonly<Record<string, Schema>>
    for (const [name, schema] of Object.entries(schemas)) {
      for (const { group, version, kind } of kindsOf(schema)) {
        if ([group, version].filter(Boolean).join('/') !== groupVersion) continue
        // kubeconform calls the core group by its version.
        const file = `${group || version}_${version}_${kind.toLowerCase()}.json`
        writeFileSync(join(directory, file), JSON.stringify({ ...definitions[name], definitions }))
      }
    }
  }
  return join(directory, '{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json')
}

function kindsOf(schema: Schema): readonly Kind[] {
  return (schema['x-kubernetes-group-version-kind'] ?? []) as readonly Kind[]
}

/** An object with named members has no others, unless the API server says that it keeps them. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed)
  if (typeof value !== 'object' || value === null) return value
  const schema = Object.fromEntries(
    Object.entries(value).map(([name, inside]) =>
      name === '$ref' && typeof inside === 'string'
        ? [name, inside.replace('#/components/schemas/', '#/definitions/')]
        : [name, closed(inside)],
    ),
  )
  const named = typeof schema['properties'] === 'object' && schema['type'] === 'object'
  const open = schema['additionalProperties'] !== undefined || schema['x-kubernetes-preserve-unknown-fields']
  return named && !open ? { ...schema, additionalProperties: false } : schema
}
