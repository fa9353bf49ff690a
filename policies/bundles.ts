// What is built: which sources make which module, and how strictly they are judged.

/** One bundle to build. Paths are relative to this folder, or absolute. */
export interface BundleSpec {
  readonly name: string
  /** Directory of the unpacked bundle. */
  readonly out: string
  /** Rule that the sidecar evaluates, slash separated. */
  readonly entrypoint: string
  /** Parts of `data` the bundle owns, as OPA understands roots. */
  readonly roots: readonly string[]
  /** Files of `portcullis/` that go into the module. */
  readonly library: readonly string[]
  /** Folders of the application; a file of a later one replaces its namesake in an earlier one. */
  readonly layers: readonly string[]
  /** JSON Schema of `input`, for the type checker and the self-test vectors. */
  readonly schema: string
  /** `false` only for the tests' hostile bundles, which have to break the rules to be of use. */
  readonly judged: boolean
  /** Let the module call builtins of its host, and print. Tests only: the sidecar offers none. */
  readonly unbounded?: boolean
}

const FLOOR = ['floor.rego', 'ownership.rego', 'scopes.rego', 'tenant.rego']
export const LIBRARY = [
  'clients.rego',
  'delegation.rego',
  'entry.rego',
  'ownership.rego',
  'rar.rego',
  'roles.rego',
  'scopes.rego',
  'step_up.rego',
  'tenant.rego',
]

/** A bundle of an application: `layers` hold its Rego, `data.json` and `selftest.json`. */
export function application(name: string, layers: readonly string[]): BundleSpec {
  return {
    name,
    out: `${layers.at(-1) ?? name}/bundle`,
    entrypoint: 'portcullis/entry/verdict',
    roots: ['app', 'portcullis/entry', 'settings'],
    library: LIBRARY,
    layers,
    schema: 'schema/input.json',
    judged: true,
  }
}

export const BUNDLES: readonly BundleSpec[] = [
  {
    name: 'floor',
    out: 'bundle',
    entrypoint: 'portcullis/floor/verdict',
    roots: ['portcullis/floor'],
    library: FLOOR,
    layers: [],
    schema: 'schema/floor.json',
    judged: true,
  },
  application('invoices', ['invoices']),
  application('invoices-edited', ['invoices', 'invoices-edited']),
  application('payments', ['payments']),
]
