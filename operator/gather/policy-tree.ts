import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { LIBRARY } from '../../policies/bundles.ts'

/** An author's files: Rego by path (tests end in `_test.rego`), and the settings as JSON text. */
export interface PolicySources {
  readonly modules: ReadonlyMap<string, string>
  readonly settings: string
}

/** Where the shipped library, schema and capabilities are: the `policies` folder of this program. */
export type PoliciesFolder = string

const PREFIX = { source: 'source/app/', tests: 'tests/app/' } as const

/** Writes the tree in which every command runs. The compiler puts file names into the module, so they are the same everywhere. */
export async function stage(place: string, sources: PolicySources, policies: PoliciesFolder): Promise<void> {
  const shipped = (path: string) => readFile(join(policies, path), 'utf8')
  const library = LIBRARY.map(async (file) =>
    put(place, `source/portcullis/${file}`, await shipped(`portcullis/${file}`)),
  )
  const authored = [...sources.modules].map(([path, rego]) => put(place, stagedPath(path), rego))
  await Promise.all([
    ...library,
    ...authored,
    put(place, 'source/.manifest', '{"roots":["app","portcullis"]}'),
    put(place, 'capabilities.json', await shipped('capabilities.json')),
    put(place, 'input.json', await shipped('schema/input.json')),
    put(place, 'settings/data.json', dataOf(sources)),
  ])
}

/** Data of an application lies under `settings` alone: what is under the bundle's own roots would be folded into the module. */
export function dataOf({ settings }: PolicySources): string {
  return `${JSON.stringify({ settings: JSON.parse(settings || '{}') as unknown })}\n`
}

/** Path of an author's file in the tree. */
export function stagedPath(path: string): string {
  return `${path.endsWith('_test.rego') ? PREFIX.tests : PREFIX.source}${path}`
}

/** The author's name of a staged file; the shipped library keeps its own. */
export function authoredPath(staged: string): string {
  for (const prefix of Object.values(PREFIX))
    if (staged.startsWith(prefix)) return staged.slice(prefix.length)
  return staged.replace(/^source\//, '')
}

async function put(place: string, path: string, content: string): Promise<void> {
  const target = join(place, path)
  await mkdir(dirname(target), { recursive: true })
  await writeFile(target, content)
}
