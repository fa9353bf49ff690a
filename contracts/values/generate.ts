import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { z } from 'zod'
import { RESOURCES } from '../crd.ts'
import { VALUES } from './values.ts'

/** `node contracts/values/generate.ts` writes what of the chart follows from contracts: its schema of values and its CRDs. */

const ROOT = resolve(import.meta.dirname, '../..')
const CHART = 'charts/portcullis'

/** Path from the root of the repository, and text. */
export function generatedChart(): ReadonlyMap<string, string> {
  return new Map([
    [`${CHART}/values.schema.json`, `${print(schema(), '')}\n`],
    ...Object.values(RESOURCES).map(({ plural }): [string, string] => [
      `${CHART}/templates/crds/${plural}.yaml`,
      template(readFileSync(join(ROOT, 'contracts/crd', `${plural}.yaml`), 'utf8')),
    ]),
  ])
}

function schema(): unknown {
  return z.toJSONSchema(VALUES, {
    target: 'draft-07',
    io: 'input',
    reused: 'inline',
    unrepresentable: 'throw',
    override: ({ jsonSchema }) => {
      // A pattern bounds the length already; an unbounded integer is one that no value has.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
    },
  })
}

// Hooks, because Helm looks every kind of a release up before it installs the first object, and the objects of these kinds are in the
// same release. A CRD that is a hook is applied before everything else at each install and upgrade; Helm never deletes one.
const HOOK = `    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "-20"
    helm.sh/resource-policy: keep
`

function template(manifest: string): string {
  const [note = '', ...lines] = manifest.split('\n')
  const place = lines.indexOf('  annotations:') + 1
  if (!note.startsWith('#') || place === 0) throw new TypeError('not a manifest of contracts/crd')
  const body = [...lines.slice(0, place), HOOK.trimEnd(), ...lines.slice(place)].join('\n')
  // Go's templates would take braces in a description for an action.
  const quoted = body.replaceAll('{{', '{{ "{{" }}')
  return `{{- if .Values.crds.enabled }}\n${note}\n${quoted}{{- end }}\n`
}

const WIDTH = 110

/** JSON as the formatter leaves it: an object member by member, a list in one line where it fits. */
function print(value: unknown, indent: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}']
  const deeper = `${indent}  `
  const members = Array.isArray(value)
    ? value.map((one) => print(one, deeper))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${print(one, deeper)}`)
  if (members.length === 0) return `${open}${close}`
  const line = `[${members.join(', ')}]`
  if (Array.isArray(value) && !line.includes('\n') && indent.length + line.length + 20 < WIDTH) return line
  return `${open}\n${deeper}${members.join(`,\n${deeper}`)}\n${indent}${close}`
}

if (import.meta.main) {
  for (const [path, text] of generatedChart()) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true })
    writeFileSync(join(ROOT, path), text)
  }
}
