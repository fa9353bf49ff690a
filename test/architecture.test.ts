import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

// The arrows of ARCHITECTURE.md as one table: who may import whom. What is not listed is forbidden.

const ROOT = resolve(import.meta.dirname, '..')

const LEAVES = [
  'sidecar/decision',
  'sidecar/principal',
  'sidecar/request',
  'sidecar/ports',
  'sidecar/settings',
]

/** The same of the operator. */
const OPERATOR_LEAVES = ['operator/ports', 'operator/listen', 'operator/buckets']

/** Room to rooms. A room is a folder, or one file directly under `sidecar/`. `leaves` stands for all of LEAVES. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  contracts: [],
  ...Object.fromEntries(LEAVES.map((leaf) => [leaf, ['leaves', 'contracts']])),
  'sidecar/config-reader': [],
  'sidecar/config-redis': ['sidecar/config-reader', 'contracts'],
  'sidecar/config-endpoints': ['sidecar/config-reader', 'leaves', 'contracts'],
  'sidecar/config-issuers': ['sidecar/config-reader', 'sidecar/config-endpoints', 'leaves', 'contracts'],
  'sidecar/config-tokens': ['sidecar/config-reader', 'leaves', 'contracts'],
  'sidecar/config': [
    'sidecar/config-reader',
    'sidecar/config-endpoints',
    'sidecar/config-redis',
    'sidecar/config-issuers',
    'sidecar/config-tokens',
    'leaves',
    'contracts',
  ],
  'sidecar/trust': ['leaves', 'contracts'],
  'sidecar/token': ['sidecar/trust', 'leaves', 'contracts'],
  'sidecar/grants': ['sidecar/token', 'sidecar/trust', 'leaves', 'contracts'],
  'sidecar/policy': ['sidecar/token', 'sidecar/trust', 'leaves', 'contracts'],
  'sidecar/decide': ['sidecar/token', 'sidecar/policy', 'sidecar/trust', 'leaves', 'contracts'],
  // Refresh families: what they are, apart from how they are asked for.
  'sidecar/serve': [
    'sidecar/decide',
    'sidecar/policy',
    'sidecar/token',
    'sidecar/grants',
    'leaves',
    'contracts',
  ],
  'sidecar/feed': ['leaves', 'contracts'],
  'sidecar/record': ['leaves', 'contracts'],
  'sidecar/config-injected': [
    'sidecar/config-reader',
    'sidecar/config-redis',
    'sidecar/config',
    'leaves',
    'contracts',
  ],
  'sidecar/config-explained': ['leaves', 'contracts'],
  'sidecar/check-config': [
    'sidecar/config',
    'sidecar/config-explained',
    'sidecar/config-injected',
    'sidecar/feed',
    'sidecar/identity',
    'sidecar/policy',
    'leaves',
    'contracts',
  ],
  'sidecar/identity': ['leaves', 'contracts'],
  // What replicas share, put together for the two rooms that use it.
  'sidecar/sharing': ['*'],
  'sidecar/vouching': ['*'],
  'sidecar/asking': ['*'],
  'sidecar/assemble': ['*'],
  'sidecar/main': ['*'],
  // The build's own recipe, which the operator runs, too.
  policies: [],
  'operator/ports': [],
  'operator/listen': [],
  'operator/buckets': ['operator/ports'],
  'operator/config': ['operator/kube', 'operator/config-redis', 'leaves', 'contracts'],
  'operator/config-redis': ['contracts'],
  'operator/kube': ['leaves', 'contracts'],
  'operator/state': ['leaves', 'contracts'],
  'operator/gather': ['policies', 'leaves', 'contracts'],
  'operator/mesh': ['leaves', 'contracts'],
  'operator/inject': ['leaves', 'contracts'],
  'operator/logout': ['leaves', 'contracts'],
  'operator/identity': ['operator/mesh', 'operator/kube', 'operator/inject', 'leaves', 'contracts'],
  'operator/publish': ['operator/state', 'leaves', 'contracts'],
  'operator/ledger': ['operator/state', 'operator/kube', 'leaves', 'contracts'],
  'operator/reconcile': ['operator/gather', 'operator/kube', 'leaves', 'contracts'],
  'operator/record': ['operator/kube', 'leaves'],
  // The two roles put the rooms together; what both need of the other's is named in control.
  'operator/control': ['*'],
  'operator/issuer': ['*'],
  'operator/release': ['operator/kube', 'operator/control', 'operator/config', 'leaves', 'contracts'],
  'operator/main': ['*'],
}

/** One package, one door. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  '@open-policy-agent/opa-wasm': ['sidecar/policy/engine.ts'],
  'prom-client': ['sidecar/record/', 'operator/record/'],
  '@grpc/grpc-js': [
    'sidecar/serve/',
    'sidecar/feed/',
    'sidecar/identity/',
    'contracts/',
    'operator/publish/',
    'operator/mesh/',
    'operator/identity/',
  ],
  '@bufbuild/protobuf': ['contracts/', 'sidecar/serve/codec.ts', 'operator/publish/wire.ts'],
  '@kubernetes/client-node': ['operator/kube/credentials.ts'],
  undici: ['operator/kube/connections.ts'],
  jose: ['operator/identity/', 'sidecar/token/shadow.ts'],
  ioredis: ['contracts/redis/connection.ts'],
  zod: ['contracts/crd/', 'contracts/values/'],
  yaml: ['sidecar/config.ts', 'contracts/crd/generate/', 'contracts/values/'],
}

/** Ambient state, and the only files that may touch it. */
const AMBIENT: readonly {
  readonly what: string
  readonly found: RegExp
  readonly allowed: readonly string[]
}[] = [
  {
    what: 'the wall clock',
    found: /\bDate\.now\(|\bnew Date\(/,
    allowed: ['sidecar/main.ts', 'operator/main.ts'],
  },
  {
    what: 'the monotonic clock',
    found: /\bperformance\.now\(|\bhrtime\b/,
    allowed: ['sidecar/main.ts', 'operator/main.ts', 'contracts/client/timing.ts'],
  },
  { what: 'the environment', found: /\bprocess\.env\b/, allowed: ['sidecar/main.ts', 'operator/main.ts'] },
  {
    what: 'chance',
    found: /\bMath\.random\(|\brandomBytes\(/,
    allowed: ['sidecar/main.ts', 'operator/main.ts', 'contracts/client/timing.ts'],
  },
  {
    what: 'timers',
    found: /(?<!\.)\bset(?:Timeout|Interval)\(/,
    allowed: ['sidecar/main.ts', 'operator/main.ts', 'contracts/client/timing.ts'],
  },
  { what: 'global fetch', found: /(?<![.\w])fetch\((?=['"`])/, allowed: [] },
  { what: 'the console', found: /\bconsole\.\w+\(/, allowed: [] },
]

interface Source {
  readonly path: string
  readonly text: string
}

interface Edge {
  readonly from: string
  readonly to: string
}

const sources: readonly Source[] = globSync(
  ['sidecar/**/*.ts', 'operator/**/*.ts', 'contracts/**/*.ts', 'policies/*.ts'],
  { cwd: ROOT },
)
  .sort()
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))

function importsOf({ path, text }: Source): readonly Edge[] {
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(
    (match) => match[1] ?? '',
  )
  return specifiers.map((specifier) => ({
    from: path,
    to: specifier.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), specifier)) : specifier,
  }))
}

function roomOf(path: string): string {
  for (const whole of ['contracts', 'policies']) if (path.startsWith(`${whole}/`)) return whole
  const [top, second = ''] = path.split('/')
  return `${top}/${second.replace(/\.ts$/, '')}`
}

// `*` is everything of one's own program: sidecar and operator never import each other.
function sameProgram(room: string, target: string): boolean {
  const [program] = room.split('/')
  return target === 'contracts' || target === 'policies' || target.startsWith(`${program}/`)
}

function forbiddenArrows(files: readonly Source[]): readonly string[] {
  return files.flatMap(importsOf).flatMap(({ from, to }) => {
    if (!/^(?:sidecar|operator|contracts|policies)\//.test(to)) return []
    const [room, target] = [roomOf(from), roomOf(to)]
    // Schemas, and the library that they are written in, are for the operator: the sidecar's memory is paid next to every pod.
    if (room.startsWith('sidecar/') && to.startsWith('contracts/crd'))
      return [`${from} imports ${to}: schemas are the operator's`]
    const allowed = ARROWS[room]
    if (!allowed) return [`${from}: ${room} is not in the table of arrows`]
    const fine =
      room === target ||
      (allowed.includes('*') && sameProgram(room, target)) ||
      allowed.includes(target) ||
      (allowed.includes('leaves') &&
        (room.startsWith('operator/') ? OPERATOR_LEAVES : LEAVES).includes(target))
    return fine ? [] : [`${from} imports ${to}: ${room} may not import ${target}`]
  })
}

function wrongDoors(files: readonly Source[]): readonly string[] {
  return files.flatMap(importsOf).flatMap(({ from, to }) => {
    const name = Object.keys(DOORS).find((one) => to === one || to.startsWith(`${one}/`))
    const doors = name ? (DOORS[name] ?? []) : undefined
    if (!doors || doors.some((door) => from.startsWith(door))) return []
    return [`${from} imports ${to}: only ${doors.join(' and ')} may`]
  })
}

function ambientUses(files: readonly Source[]): readonly string[] {
  return files
    .filter(({ path }) => !path.startsWith('contracts/gen/'))
    .flatMap(({ path, text }) =>
      AMBIENT.filter(({ found, allowed }) => found.test(text) && !allowed.includes(path)).map(
        ({ what }) => `${path} touches ${what}`,
      ),
    )
}

function cycles(files: readonly Source[]): readonly string[] {
  const next = new Map(files.map((file) => [file.path, importsOf(file).map(({ to }) => to)]))
  const found: string[] = []
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) found.push([...trail.slice(trail.indexOf(path)), path].join(' -> '))
    if (done.has(path) || trail.includes(path)) return
    for (const to of next.get(path) ?? []) visit(to, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  return found
}

describe('architecture', () => {
  test('every import follows an arrow of the table', () => {
    expect(forbiddenArrows(sources)).toEqual([])
  })
  test('every package has one door', () => {
    expect(wrongDoors(sources)).toEqual([])
  })
  test('nothing touches clock, environment, chance, timers or console but the files that may', () => {
    expect(ambientUses(sources)).toEqual([])
  })
  test('no file imports itself in a circle', () => {
    // A type-only import costs nothing at run time, but a circle of types is still one idea in two files.
    expect(cycles(sources.filter(({ path }) => !path.startsWith('contracts/gen/')))).toEqual([])
  })
  test('every room of the table exists', () => {
    const rooms = new Set(sources.map(({ path }) => roomOf(path)))
    expect(Object.keys(ARROWS).filter((room) => !rooms.has(room))).toEqual([])
  })
  test('only policy/judge.ts makes an Allowance and only token/standing.ts a Principal', () => {
    const makers = (pattern: RegExp) =>
      sources.filter(({ text }) => pattern.test(text)).map(({ path }) => path)
    expect(
      makers(/kind = 'allow'|kind: 'allow'(?! \?)(?=,)/).filter((path) => path.startsWith('sidecar/')),
    ).toEqual(['sidecar/policy/judge.ts'])
    expect(makers(/implements Principal/)).toEqual(['sidecar/token/standing.ts'])
  })
})

describe('the table is alive: a planted violation is found', () => {
  const planted = (path: string, text: string): readonly Source[] => [...sources, { path, text }]

  test.each([
    [
      'trust importing token',
      'sidecar/trust/planted.ts',
      "import { present } from '../token/credentials.ts'",
    ],
    [
      'contracts importing the sidecar',
      'contracts/planted.ts',
      "import { deny } from '../sidecar/decision.ts'",
    ],
    ['record importing serve', 'sidecar/record/planted.ts', "import { faceOf } from '../serve/challenge.ts'"],
    ['the sidecar importing the operator', 'sidecar/main.ts', "import { Fault } from '../operator/ports.ts'"],
    [
      'the operator importing the sidecar',
      'operator/main.ts',
      "import { deny } from '../sidecar/decision.ts'",
    ],
    [
      'the sidecar importing a schema',
      'sidecar/feed/planted.ts',
      "import { parseTokenIssuer } from '../../contracts/crd/token-issuer.ts'",
    ],
    ['a room that nobody declared', 'sidecar/helpers/planted.ts', "import { deny } from '../decision.ts'"],
  ])('%s', (_name, path, text) => {
    expect(forbiddenArrows(planted(path, text))).toHaveLength(1)
  })
  test('a second door to a package', () => {
    expect(
      wrongDoors(planted('sidecar/token/planted.ts', "import opa from '@open-policy-agent/opa-wasm'")),
    ).toHaveLength(1)
  })
  test.each([
    'Date.now()',
    'process.env',
    'Math.random()',
    'setTimeout(f, 1)',
    "fetch('http://x')",
    'console.log(1)',
  ])('%s', (text) => {
    expect(ambientUses(planted('sidecar/token/planted.ts', text))).toHaveLength(1)
  })
  test('a circle', () => {
    const circle = [
      { path: 'sidecar/token/a.ts', text: "import { b } from './b.ts'" },
      { path: 'sidecar/token/b.ts', text: "import { a } from './a.ts'" },
    ]
    expect(cycles([...sources, ...circle])).not.toEqual([])
  })
})
