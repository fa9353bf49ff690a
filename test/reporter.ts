import type { Reporter, TestCase, TestModule } from 'vitest/node'
import { faultRows } from './faults/page.ts'

const REASON_CHARS = 400

/**
 * Closes the run: which faults were survived, the seconds of each project, the counts, and at the very end, where a log that was cut
 * still shows it, every test that did not run and every test that failed.
 */
export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const withState = (state: string) => tests.filter((test) => test.result().state === state)
    const broken = modules.flatMap((module) =>
      module.errors().map(({ message }) => failure(module.relativeModuleId, message)),
    )
    const failed = withState('failed').map((test) =>
      failure(`${test.module.relativeModuleId} > ${test.fullName}`, test.result().errors?.[0]?.message),
    )
    const notRun = [...withState('skipped'), ...withState('pending')]
    const skipped = notRun.length > 0 ? `, ${notRun.length} skipped` : ''
    process.stdout.write(
      [
        faultTable(tests),
        secondsTable(modules),
        `${withState('passed').length} passed, ${broken.length + failed.length} failed${skipped}\n`,
        ...notRun.map((test) => `NOT RUN ${test.fullName}\n`),
        ...broken,
        ...failed,
      ].join(''),
    )
  }
}

function failure(where: string, message = 'no reason given'): string {
  return `FAILED ${where}: ${message.replace(/\s+/g, ' ').slice(0, REASON_CHARS)}\n`
}

/** What each project's files took, hooks included, and its slowest file. */
function secondsTable(modules: readonly TestModule[]): string {
  const projects = Map.groupBy(modules, (module) => module.project.name)
  return [...projects]
    .map(([name, files]) => {
      const took = files.map((file) => ({ file: file.relativeModuleId, seconds: secondsOf(file) }))
      const slowest = took.toSorted((one, other) => other.seconds - one.seconds)[0]
      const all = took.reduce((sum, { seconds }) => sum + seconds, 0)
      return `${name.padEnd(12)} ${all.toFixed(0).padStart(5)} s in ${files.length} files, the slowest ${slowest?.file} ${slowest?.seconds.toFixed(0)} s\n`
    })
    .join('')
}

function secondsOf(module: TestModule): number {
  const { collectDuration, setupDuration, duration } = module.diagnostic()
  return (collectDuration + setupDuration + duration) / 1000
}

/** Rows of docs/reference/faults.md that this run has inflicted. */
function faultTable(tests: readonly TestCase[]): string {
  const faults = Map.groupBy(tests, (test) => /(?:^| > )fault ([A-Z]\d+):/.exec(test.fullName)?.[1])
  faults.delete(undefined)
  if (faults.size === 0) return ''
  const lines = faultRows().flatMap(({ id, injected, oracle }) => {
    const inflicted = faults.get(id) ?? []
    return inflicted.length > 0
      ? [`${id.padEnd(4)} ${verdictOf(inflicted).padEnd(16)} ${injected} => ${oracle}\n`]
      : []
  })
  return `id   verdict          injected => what must hold\n${lines.join('')}`
}

function verdictOf(tests: readonly TestCase[]): string {
  const passed = tests.filter((test) => test.result().state === 'passed').length
  const failed = tests.filter((test) => test.result().state === 'failed').length
  if (failed > 0) return `FAILED ${failed} of ${tests.length}`
  return passed === tests.length
    ? `survived (${passed})`
    : `NOT RUN ${tests.length - passed} of ${tests.length}`
}
