import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../fixtures/sidecar.ts'

export interface FaultRow {
  readonly id: string
  readonly injected: string
  readonly oracle: string
  // Test files, relative to `test/` and without ending; none while the row is open.
  readonly shownBy: readonly string[]
}

const ROW = /^\| ([A-Z]\d+) \| (.+) \| (.+) \| (.+) \|$/

/** Rows of docs/reference/faults.md, in order. */
export function faultRows(): readonly FaultRow[] {
  const page = readFileSync(join(ROOT, 'docs/reference/faults.md'), 'utf8')
  return page.split('\n').flatMap((line) => {
    const [, id = '', injected = '', oracle = '', shown = ''] = ROW.exec(line) ?? []
    const shownBy = [...shown.matchAll(/`([\w/-]+)`/g)].map(([, file = '']) => file)
    return id ? [{ id, injected, oracle, shownBy }] : []
  })
}
