import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import {
  addresses,
  caBundle,
  httpsUrl,
  isRecord,
  jsonText,
  objectName,
  observed,
  programmed,
  sha256,
} from './forms.ts'
import {
  choice,
  duration,
  formed,
  list,
  listMap,
  memberPerType,
  object,
  ruled,
  text,
  whole,
} from './schema.ts'

const module = object('One file.', {
  path: formed('Its path, as compiler problems name it.', {
    max: 256,
    pattern: '^([A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*[.]rego$',
    says: 'must be a relative path that ends in .rego, such as app/invoices.rego; no part may begin with a dot',
  }),
  rego: text('Its text.', { max: 65_536 }),
})

/** etcd takes objects of 1.5 MiB, and says no more than that to a larger one. */
const INLINE_TEXT = 1_048_576

const modules = ruled(
  listMap(
    'Rego modules and their tests (*_test.rego). With more than 200 KiB of text use kubectl apply --server-side: the other way keeps a copy in an annotation, which has a limit.',
    module,
    { keys: ['path'], min: 1, max: 64 },
  ),
  {
    says: 'must have at most 1 MiB of text together: serve a larger bundle with type HTTP',
    cel: `self.map(one, one.rego.size()).sum() <= ${INLINE_TEXT}`,
    holds: (all) => all.reduce((sum, { rego }) => sum + rego.length, 0) <= INLINE_TEXT,
  },
)

const inline = object('The rules themselves.', {
  modules,
  settings: jsonText('Data for the rules, a JSON object as text.', {
    max: 65_536,
    says: 'must be a JSON object as text, such as {"limit": 100}',
    fits: isRecord,
  }).exactOptional(),
})

const http = object('The rules are fetched.', {
  url: httpsUrl('URL of a bundle (a .tar.gz of sources, as opa build reads it).', 2048),
  caBundle: caBundle(
    'PEM certificates that sign the server, instead of the well-known authorities.',
  ).exactOptional(),
  addresses: addresses(),
  refreshInterval: duration('How often it is asked for a new one (with its ETag).', {
    from: '10s',
    to: '1h',
    such: '60s',
  }).default('60s'),
  sha256: sha256(
    'SHA-256 that the download must have; a different one is refused and the previous rules stay.',
  ).exactOptional(),
})

interface Members {
  readonly inline?: unknown
  readonly configMap?: unknown
  readonly http?: unknown
}

const source = ruled(
  object('Where the rules come from.', {
    type: choice('Which of the members below it is.', ['Inline', 'ConfigMap', 'HTTP']),
    inline: inline.exactOptional(),
    configMap: object('The rules are in a ConfigMap of the same namespace.', {
      name: objectName(
        'Name of the ConfigMap. Each key that ends in .rego is a module; the key settings.json, if any, is the settings; there may be no other.',
      ),
    }).exactOptional(),
    http: http.exactOptional(),
  }),
  ...memberPerType<Members>({ Inline: 'inline', ConfigMap: 'configMap', HTTP: 'http' }),
)

const spec = object('The rules.', {
  source,
  tests: choice(
    'Required: the tests among the modules must exist and pass before a revision is signed. Skip: they are not run.',
    ['Required', 'Skip'],
  ).default('Required'),
})

const problem = object('What the compiler or a test says.', {
  file: text('File.', { max: 256, min: 0 }),
  line: whole('Line, from 1; 0 when the problem is of the whole file.'),
  message: text('What is wrong there.', { max: 1024 }),
})

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.PolicyBundle),
  revision: text('Revision of the compiled rules that sidecars are sent.', { max: 128 }).exactOptional(),
  sourceDigest: text('Digest of the sources last looked at, compiled or not.', { max: 128 }).exactOptional(),
  wasm: object('The compiled rules.', {
    sha256: sha256('SHA-256 of the module.'),
    bytes: whole('Its size.'),
  }).exactOptional(),
  problems: list(
    'Why the sources last looked at were refused; the previous revision stays in force.',
    problem,
    {
      max: 32,
    },
  ).exactOptional(),
  programmed: programmed(),
})

export const POLICY_BUNDLE = {
  resource: RESOURCES.PolicyBundle,
  about:
    'The rules: Rego from the object itself, a ConfigMap or a URL, compiled, tested and signed by the operator. A revision that does not compile or fails its tests says so in status, and the previous one stays in force.',
  spec,
  status,
  columns: [
    { name: 'Source', jsonPath: '.spec.source.type', description: 'Where the rules come from.' },
    { name: 'Revision', jsonPath: '.status.revision', description: 'Revision in force.' },
    { name: 'Programmed', jsonPath: '.status.programmed', description: 'Sidecars that run it.' },
    {
      name: 'Bytes',
      jsonPath: '.status.wasm.bytes',
      description: 'Size of the compiled rules.',
      type: 'integer',
      wide: true,
    },
  ],
} as const satisfies Definition

export type PolicyBundle = Of<typeof POLICY_BUNDLE>
export type PolicyBundleStatus = NonNullable<PolicyBundle['status']>

const parse = parserOf(POLICY_BUNDLE)
export function parsePolicyBundle(object: unknown): Outcome<PolicyBundle> {
  return parse(object)
}
