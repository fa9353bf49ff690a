import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'

// What a program's main reaches: its own files one by one, packages whole but for command lines, and of what those
// depend on only what one of their files names (typings and the parsers of command lines fall away).

export interface PackageFound {
  readonly name: string
  readonly version: string
  readonly license: string
  /** Absolute. */
  readonly directory: string
  /** Relative to the package's directory: what can be executed or read at run time, and licences. */
  readonly files: readonly string[]
}

export interface Closure {
  /** Emitted files, absolute, sorted. */
  readonly files: readonly string[]
  readonly packages: readonly PackageFound[]
}

const SPECIFIERS = [
  /\b(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/g,
  /\bimport\s*\(?\s*['"]([^'"]+)['"]/g,
  /\brequire\(\s*['"]([^'"]+)['"]\s*\)/g,
  /\bnew URL\(\s*['"](\.[^'"]+\.js)['"]\s*,\s*import\.meta\.url/g,
] as const
const RUNTIME_FILE = /(\.(js|cjs|mjs|json|wasm|node|proto)|^(LICENSE|LICENCE|NOTICE|COPYING)[^/]*)$/i
const CODE_FILE = /\.(js|cjs|mjs)$/
// Never loaded, though a package ships them.
const ASIDE = /^((build|dist)\/bin|bin|tests?|__tests__|docs?|examples?|benchmarks?)\/|(^|\/)node_modules\//
const BUILT_IN = new Set(builtinModules)

export function closureOf(entry: string): Closure {
  const files = new Set<string>()
  const packages = new Map<string, PackageFound>()
  const waiting = [resolve(entry)]
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file)) continue
    if (!existsSync(file)) throw new Error(`${file} is imported and does not exist: run make build`)
    files.add(file)
    for (const specifier of specifiersOf(readFileSync(file, 'utf8'))) {
      if (specifier.startsWith('.')) waiting.push(resolve(dirname(file), specifier))
      else addPackage(packageName(specifier), dirname(file), packages)
    }
  }
  const sorted = [...packages.values()].sort((a, b) => (a.directory < b.directory ? -1 : 1))
  return { files: [...files].sort(), packages: sorted }
}

function specifiersOf(text: string): readonly string[] {
  const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
  const found = SPECIFIERS.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ''))
  return found.filter((one) => !one.startsWith('node:') && !BUILT_IN.has(packageName(one)))
}

function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

interface PackageJson {
  readonly version?: string
  readonly license?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

function addPackage(name: string, from: string, found: Map<string, PackageFound>): void {
  const directory = findPackage(name, from)
  if (found.has(directory)) return
  const about = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as PackageJson
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile())
    .map((one) => relative(directory, join(one.parentPath, one.name)))
    .filter((path) => RUNTIME_FILE.test(path) && !ASIDE.test(path))
    .sort()
  const { version = 'unknown', license = 'unknown' } = about
  found.set(directory, { name, version, license, directory, files })
  const named = new Set(
    files
      .filter((path) => CODE_FILE.test(path))
      .flatMap((path) => specifiersOf(readFileSync(join(directory, path), 'utf8')))
      .map(packageName),
  )
  for (const dependency of Object.keys(about.dependencies ?? {})) {
    if (named.has(dependency)) addPackage(dependency, directory, found)
  }
  // Those that npm leaves out when nobody else wants them.
  for (const dependency of Object.keys({ ...about.peerDependencies, ...about.optionalDependencies })) {
    if (named.has(dependency) && installed(dependency, directory)) addPackage(dependency, directory, found)
  }
}

function findPackage(name: string, from: string): string {
  const directory = installed(name, from)
  if (directory === undefined) throw new Error(`${name}, imported from ${from}, is not installed`)
  return directory
}

// As Node looks for it: in each node_modules on the way up.
function installed(name: string, from: string): string | undefined {
  for (let at = from; ; at = dirname(at)) {
    const candidate = join(at, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate)
    if (at === dirname(at)) return undefined
  }
}
