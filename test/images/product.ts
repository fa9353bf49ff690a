import { globSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { ROOT, tool } from '../cluster-node/tool.ts'
import { closureOf } from './closure.ts'
import { NODE, nodeRuntime } from './node-runtime.ts'
import { archive, layer } from './oci.ts'
import { type Part, sbom } from './sbom.ts'
import type { Entry } from './tar.ts'

// The two images that are shipped: Node, what one main reaches, and nothing else: no shell, no package manager.

export interface Built {
  readonly name: string
  readonly ref: string
  readonly digest: string
  readonly bytes: Buffer
  readonly uncompressedBytes: number
  readonly sbom: string
}

export interface Program {
  readonly name: 'sidecar' | 'operator'
  /** The emitted main, absolute. */
  readonly entry: string
  /** Root of the emitted tree, which becomes /app/dist. */
  readonly dist: string
}

const APP = 'app'
const UID = { sidecar: 64531, operator: 64532 } as const

export async function product({ name, entry, dist }: Program): Promise<Built> {
  const runtime = nodeRuntime()
  const { files, packages } = closureOf(entry)
  const own: readonly Entry[] = [
    ...files.map((path) => file(join('dist', relative(dist, path)), path)),
    file('package.json', join(ROOT, 'package.json')),
    ...shared(name).map((path) => file(path, join(ROOT, path))),
  ]
  const libraries = packages.flatMap(({ directory, files: inside }) =>
    inside.map((path) => file(join(relative(ROOT, directory), path), join(directory, path))),
  )
  const opa = name === 'operator' ? await compiler() : undefined
  const layers = [runtime.layer, layer(libraries), ...(opa ? [layer([opa.entry])] : []), layer(own)]
  const ref = `portcullis.test/${name}:dev`
  const { bytes, digest } = archive({
    ref,
    layers,
    entrypoint: [NODE, ...v8Flags(name), `/${APP}/dist/${relative(dist, entry)}`],
    env: ['NODE_ENV=production'],
    workingDir: `/${APP}`,
    user: `${UID[name]}:${UID[name]}`,
  })
  const parts: readonly Part[] = [
    ...runtime.libraries.map((one) => ({ ...one, from: 'debian' as const })),
    { name: 'node', version: runtime.version.slice(1), license: 'MIT', from: 'own' },
    { name: 'portcullis', version: aboutUs().version, license: 'Apache-2.0', from: 'own' },
    ...packages.map(({ name: of, version, license }) => ({
      name: of,
      version,
      license,
      from: 'npm' as const,
    })),
    ...(opa ? [opa.part] : []),
  ]
  const uncompressedBytes = layers.reduce((sum, one) => sum + one.uncompressedBytes, 0)
  return { name, ref, digest, bytes, uncompressedBytes, sbom: sbom(ref, digest, parts) }
}

function file(path: string, source: string): Entry {
  return { path: join(APP, path), content: readFileSync(source) }
}

// The compiled default policy for both; the operator also compiles, from the shipped library.
function shared(name: Program['name']): readonly string[] {
  const patterns = ['policies/bundle/*', 'policies/bundle/.manifest']
  const sources = ['policies/portcullis/*', 'policies/schema/*', 'policies/capabilities.json']
  const found = [...patterns, ...(name === 'operator' ? sources : [])].flatMap((one) =>
    globSync(one, { cwd: ROOT }),
  )
  return [...new Set(found)].sort()
}

async function compiler(): Promise<{ readonly entry: Entry; readonly part: Part }> {
  const path = await tool('opa')
  const module = 'github.com/open-policy-agent/opa'
  const pins = readFileSync(join(ROOT, 'test/toolchain/opa/go.mod'), 'utf8')
  const version = pins.match(new RegExp(`${module} v(\\S+)`))?.[1] ?? 'unknown'
  return {
    entry: { path: 'usr/local/bin/opa', mode: 0o755, content: readFileSync(path) },
    part: { name: module, version: `v${version}`, license: 'Apache-2.0', from: 'golang' },
  }
}

interface AboutUs {
  readonly version: string
  readonly scripts: Readonly<Record<string, string>>
}

function aboutUs(): AboutUs {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as AboutUs
}

/** Those of `npm start`, or of `npm run start:<name>` where there is one: one place says how the program is run. */
function v8Flags(name: Program['name']): readonly string[] {
  const { scripts } = aboutUs()
  const flags = (scripts[`start:${name}`] ?? scripts['start'] ?? '')
    .split(' ')
    .filter((word) => word.startsWith('--'))
  if (flags.length === 0) throw new Error('package.json has no V8 flags in "start"')
  return flags
}
