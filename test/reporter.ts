import type { Reporter, TestCase, TestModule } from 'vitest/node'
import { faultRows } from './faults/page.ts'

/** Closes the run with one plain line of counts, names every test that did not run, and says which faults were survived. */
export default class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    const faults = new Map<string, TestCase[]>()
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed++
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        counts[state]++
        if (state === 'skipped') process.stdout.write(`NOT RUN ${test.fullName}\n`)
        const [, id] = /(?:^| > )fault ([A-Z]\d+):/.exec(test.fullName) ?? []
        if (id !== undefined) faults.set(id, [...(faults.get(id) ?? []), test])
      }
    }
    process.stdout.write(faultTable(faults))
    const skipped = counts.skipped + counts.pending
    process.stdout.write(
      `${counts.passed} passed, ${counts.failed} failed${skipped ? `, ${skipped} skipped` : ''}\n`,
    )
  }
}

/** Rows of docs/reference/faults.md that this run has inflicted. */
function faultTable(faults: ReadonlyMap<string, readonly TestCase[]>): string {
  if (faults.size === 0) return ''
  const lines = faultRows().flatMap(({ id, injected, oracle }) => {
    const tests = faults.get(id) ?? []
    return tests.length > 0
      ? [`${id.padEnd(4)} ${verdictOf(tests).padEnd(16)} ${injected} => ${oracle}\n`]
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
