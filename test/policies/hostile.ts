// Builds the hostile bundles that the attack tests load: the same compiler, without the judgement.
//
//   node test/policies/hostile.ts [--check] [--opa PATH]
import { resolve } from 'node:path'
import { run } from '../../policies/build.ts'
import { type BundleSpec, LIBRARY } from '../../policies/bundles.ts'

const HERE = import.meta.dirname

/** What is off the rules, besides the Rego itself. */
interface Licence {
  /** Brings its own portcullis/entry in place of ours. */
  readonly ownEntry?: boolean
  /** Compiled with every builtin there is, and with print. */
  readonly unbounded?: boolean
}

const HOSTILE: Readonly<Record<string, Licence>> = {
  'allow-all': {},
  bomb: {},
  conflict: {},
  'host-builtin': { unbounded: true },
  memory: {},
  print: { unbounded: true },
  undefined: { ownEntry: true },
  'wrong-shape': { ownEntry: true },
}

export const HOSTILE_BUNDLES: readonly BundleSpec[] = Object.entries(HOSTILE).map(([name, licence]) =>
  hostile(name, licence),
)

function hostile(name: string, { ownEntry = false, unbounded = false }: Licence): BundleSpec {
  return {
    name: `hostile/${name}`,
    out: resolve(HERE, 'hostile', name),
    entrypoint: 'portcullis/entry/verdict',
    roots: ['app', 'portcullis/entry', 'settings'],
    library: ownEntry ? LIBRARY.filter((file) => file !== 'entry.rego') : LIBRARY,
    layers: [resolve(HERE, 'hostile-src', name)],
    schema: 'schema/input.json',
    judged: false,
    unbounded,
  }
}

if (import.meta.main) process.exitCode = run(HOSTILE_BUNDLES, process.argv.slice(2))
