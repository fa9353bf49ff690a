// What a source has to pass before it is compiled: format, strict types, package rule, tests with coverage.
import type { BundleSpec } from './bundles.ts'
import { readJson, record } from './json.ts'
import { BuildError, type Opa } from './opa.ts'
import { packageProblem } from './recipe.ts'
import { HERE, type Sources, shown } from './sources.ts'

const COVERAGE_PERCENT = 95

export interface Judgement {
  readonly tests: number
  /** Of the lines of the bundle's own sources, in percent. */
  readonly coverage: number
}

export function judge(spec: BundleSpec, sources: Sources, opa: Opa): Judgement {
  const rego = [...sources.rego.values()].map(shown)
  const all = [...rego, ...[...sources.beside, ...sources.tests].map(shown)]
  opa.run(
    `${spec.name}: opa fmt (repair with: opa fmt --write FILE)`,
    ['fmt', '--diff', '--fail', ...all],
    HERE,
  )
  if (spec.layers.length > 0) for (const file of sources.own) keepToApp(spec, file, opa)
  if (sources.data !== undefined) keepToSettings(spec, sources.data)
  const strict = [
    'check',
    '--strict',
    '--schema',
    shown(sources.schema),
    '--capabilities',
    shown(sources.capabilities),
  ]
  opa.run(`${spec.name}: opa check --strict`, [...strict, ...rego], HERE)
  opa.run(`${spec.name}: opa check --strict (tests)`, ['check', '--strict', ...all], HERE)
  return tested(spec, sources, opa, [...all, ...(sources.data === undefined ? [] : [shown(sources.data)])])
}

function keepToApp(spec: BundleSpec, file: string, opa: Opa): void {
  const parsed = opa.run(`${spec.name}: opa parse`, ['parse', '--format', 'json', shown(file)], HERE)
  const problem = packageProblem(parsed)
  if (problem !== undefined) throw new BuildError(`${spec.name}: ${shown(file)}: ${problem}`)
}

function keepToSettings(spec: BundleSpec, file: string): void {
  const stray = Object.keys(record(readJson(file))).find((key) => key !== 'settings')
  if (stray !== undefined) {
    const where = `${spec.name}: ${shown(file)}`
    throw new BuildError(`${where}: "${stray}" is not allowed; data of an application goes under "settings"`)
  }
}

function tested(spec: BundleSpec, sources: Sources, opa: Opa, files: readonly string[]): Judgement {
  const results: unknown = JSON.parse(
    opa.run(`${spec.name}: opa test`, ['test', '--format', 'json', ...files], HERE),
  )
  const tests = Array.isArray(results) ? results.length : 0
  if (tests === 0) throw new BuildError(`${spec.name}: no test found; put *_test.rego beside the sources`)
  const measure = ['test', '--coverage', '--format', 'json', ...files]
  const report = record(JSON.parse(opa.run(`${spec.name}: opa test --coverage`, measure, HERE)))
  return { tests, coverage: enough(spec, sources.own.map(shown), record(report['files'])) }
}

function enough(spec: BundleSpec, own: readonly string[], files: Readonly<Record<string, unknown>>): number {
  let covered = 0
  let total = 0
  const gaps: string[] = []
  for (const file of own) {
    const report = record(files[file])
    const missed = Number(report['not_covered_lines'] ?? 0)
    covered += Number(report['covered_lines'] ?? 0)
    total += Number(report['covered_lines'] ?? 0) + missed
    if (missed > 0) gaps.push(`${file} (${rows(report['not_covered'])})`)
  }
  const coverage = total === 0 ? 0 : (100 * covered) / total
  if (coverage < COVERAGE_PERCENT) {
    const lines = gaps.length > 0 ? `; not covered: ${gaps.join(', ')}` : ''
    const found = `tests cover ${coverage.toFixed(1)} % of the rules`
    throw new BuildError(`${spec.name}: ${found}, at least ${COVERAGE_PERCENT} % is needed${lines}`)
  }
  return coverage
}

function rows(ranges: unknown): string {
  const starts = Array.isArray(ranges) ? ranges.map((range) => record(record(range)['start'])['row']) : []
  return `lines ${[...new Set(starts)].join(', ')}`
}
