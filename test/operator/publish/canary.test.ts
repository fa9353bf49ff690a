// 000-24, section 7: how long a revocation takes to be in force is measured all the time, by one that forbids nothing.
import { describe, expect, test } from 'vitest'
import { createCanaryWatch } from '../../../operator/publish/canary-watch.ts'
import { CANARY, CANARY_ID, canaryAt } from '../../../operator/state/canary.ts'
import { append, EMPTY_LOG, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { changesFor } from '../../../operator/state/revocation-made.ts'
import { createRevocations } from '../../../sidecar/trust/revocations.ts'
import { shop } from '../state/objects.ts'
import { eventually, openStage, worldOf } from './stage.ts'

const AT = 1_790_000_000_000
function sung(log: RevocationLog, at: number): RevocationLog {
  const appended = append(log, changesFor(log, [canaryAt(at)]))
  if (!appended.ok) throw new Error(appended.why)
  return appended.log
}

test('there is one canary, however often it sings, and it ends by itself', () => {
  const log = [1, 2, 3].reduce((known, round) => sung(known, AT + round * CANARY.everyMs), EMPTY_LOG)
  expect([...log.live.keys()]).toEqual([CANARY_ID])
  expect(log.head).toBe(3)
  expect(log.live.get(CANARY_ID)?.entry).toMatchObject({
    issuedBeforeMs: AT + 3 * CANARY.everyMs,
    expiresAtMs: AT + 3 * CANARY.everyMs + CANARY.livesMs,
  })
})

test('a sidecar takes it like any other', () => {
  const revocations = createRevocations()
  const entries = [...sung(EMPTY_LOG, AT).live.values()].map(({ entry }) => entry)
  expect(revocations.apply({ base: 0, head: 1, entries, removed: [] })).toEqual([])
  expect(revocations.size).toBe(1)
})

describe('what is measured', () => {
  function watch() {
    const seen: number[] = []
    let clock = AT
    const canary = createCanaryWatch(
      () => clock,
      (seconds) => seen.push(seconds),
    )
    let log = sung(EMPTY_LOG, AT)
    canary.published(log, ['a', 'b'])
    return {
      canary,
      seen,
      pass: (ms: number) => (clock += ms),
      sing() {
        clock += CANARY.everyMs
        log = sung(log, clock)
        canary.published(log, ['a', 'b'])
        return log.head
      },
    }
  }
  test('from the append to the word of each sidecar, once', () => {
    const { canary, seen, sing, pass } = watch()
    const head = sing()
    pass(40)
    canary.acked('a', head - 1)
    canary.acked('a', head)
    canary.acked('a', head)
    pass(60)
    canary.acked('b', head + 5)
    expect(seen).toEqual([0.04, 0.1])
  })
  test('a slow sidecar by the first that it missed', () => {
    const { canary, seen, sing, pass } = watch()
    sing()
    const head = sing()
    pass(5_000)
    canary.acked('a', head)
    expect(seen).toEqual([15])
  })
  test('nobody who was not there, and not what was sung before we began', () => {
    const { canary, seen, sing } = watch()
    canary.acked('a', 9)
    const head = sing()
    canary.gone('a')
    canary.acked('a', head)
    canary.acked('c', head)
    expect(seen).toEqual([])
  })
  test('clocks that differ make no negative time', () => {
    const { canary, seen, sing, pass } = watch()
    const head = sing()
    pass(-5)
    canary.acked('a', head)
    expect(seen).toEqual([0])
  })
})

test('a real stream: the canary is acknowledged, and measured', async () => {
  const seen: number[] = []
  await using stage = await openStage({ ports: { propagated: (seconds) => seen.push(seconds) } })
  const cluster = shop(['a'])
  let log = sung(EMPTY_LOG, Date.now() - 1_000)
  stage.publisher.update(worldOf({ cluster, log }))
  stage.sidecar('a')
  await eventually(() => stage.publisher.states()[0]?.revocationHead === log.head, 'the first is known')
  log = sung(log, Date.now())
  stage.publisher.update(worldOf({ cluster, log }))
  await eventually(() => seen.length === 1, 'the second is measured')
  expect(seen[0]).toBeGreaterThanOrEqual(0)
})
