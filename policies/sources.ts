// Which files make a bundle, and the hash that names it.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import type { BundleSpec } from './bundles.ts'
import { BuildError } from './opa.ts'

/** This folder. */
export const HERE = import.meta.dirname

export interface Sources {
  /** The module's own Rego: path in the compiler's tree -> path of the file. Sorted by the former. */
  readonly rego: ReadonlyMap<string, string>
  /** The rest of the library, which is tested together with the floor. */
  readonly beside: readonly string[]
  /** Rego whose coverage counts: the library's for the floor, the author's for an application. */
  readonly own: readonly string[]
  /** Test files that judge it. */
  readonly tests: readonly string[]
  readonly data: string | undefined
  readonly selftest: string
  readonly capabilities: string
  readonly schema: string
}

export function gather(spec: BundleSpec): Sources {
  const layered = new Map<string, string>()
  for (const layer of spec.layers)
    for (const file of regoIn(layer)) layered.set(file, resolve(HERE, layer, file))
  const library = spec.library.map((file) => pair(`portcullis/${file}`, join(HERE, 'portcullis', file)))
  const app = [...layered].filter(([file]) => !isTest(file)).map(([file, path]) => pair(`app/${file}`, path))
  const isFloor = spec.layers.length === 0
  const beside = isFloor ? inLibrary((file) => !isTest(file) && !spec.library.includes(file)) : []
  return {
    rego: new Map([...library, ...app].sort(byPath)),
    beside,
    own: isFloor ? [...library.map(([, path]) => path), ...beside] : app.map(([, path]) => path),
    tests: isFloor
      ? inLibrary(isTest)
      : [...layered].filter(([file]) => isTest(file)).map(([, path]) => path),
    data: last(spec, 'data.json'),
    selftest: last(spec, 'selftest.json') ?? missing(spec, 'selftest.json'),
    capabilities: join(HERE, 'capabilities.json'),
    schema: resolve(HERE, spec.schema),
  }
}

/** Names a bundle by what decides its bytes: every source, and how it is built. */
export function revisionOf(spec: BundleSpec, sources: Sources, recipe: readonly string[]): string {
  const { data, selftest, capabilities } = sources
  const others = { 'data.json': data, 'selftest.json': selftest, 'capabilities.json': capabilities }
  const named = [...sources.rego, ...Object.entries(others)]
  const files = named.map(([name, path]) => [name, path ? digest(readFileSync(path)) : ''])
  return digest(JSON.stringify({ entrypoint: spec.entrypoint, roots: spec.roots, recipe, files }))
}

export function digest(content: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

/** A path as an author would type it. */
export function shown(path: string): string {
  return relative(HERE, path)
}

function pair(name: string, path: string): [string, string] {
  return [name, path]
}

function regoIn(folder: string): string[] {
  const path = resolve(HERE, folder)
  if (!existsSync(path)) throw new BuildError(`${path} does not exist`)
  return readdirSync(path)
    .filter((file) => file.endsWith('.rego'))
    .sort()
}

function isTest(file: string): boolean {
  return file.endsWith('_test.rego')
}

function inLibrary(wanted: (file: string) => boolean): string[] {
  return regoIn('portcullis')
    .filter(wanted)
    .map((file) => join(HERE, 'portcullis', file))
}

function last(spec: BundleSpec, file: string): string | undefined {
  const folders = spec.layers.length === 0 ? ['portcullis'] : spec.layers
  return folders.map((folder) => resolve(HERE, folder, file)).findLast((path) => existsSync(path))
}

function missing(spec: BundleSpec, file: string): never {
  throw new BuildError(
    `${spec.name}: ${file}, with the vectors that the sidecar replays, is missing beside the sources`,
  )
}

function byPath(a: readonly [string, string], b: readonly [string, string]): number {
  return a[0] < b[0] ? -1 : 1
}
