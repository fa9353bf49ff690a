// The revocation lease: counted from when a heartbeat was sent, by whichever clock says more.
import { describe, expect, test } from 'vitest'
import { createLease } from '../../../sidecar/trust/lease.ts'

const WALL = 1_790_000_000_000
/** The operator's clock has nothing to do with ours. */
const THEIRS = 5_000_000_000

function open() {
  let mono = 1_000
  let wall = WALL
  const lease = createLease(
    () => mono,
    () => wall,
  )
  return {
    lease,
    silence: () => lease.silence(wall),
    pass(ms: number) {
      mono += ms
      wall += ms
    },
    /** The machine sleeps: the monotonic clock of Linux stands still. */
    suspend(ms: number) {
      wall += ms
    },
    setWall(ms: number) {
      wall += ms
    },
    setMono(ms: number) {
      mono += ms
    },
  }
}

test('before the first heartbeat nothing is confirmed', () => {
  const { silence, lease } = open()
  expect(silence()).toBe(Number.POSITIVE_INFINITY)
  lease.greet()
  expect(silence()).toBe(Number.POSITIVE_INFINITY)
})

test('the first heartbeat of a stream confirms up to the moment when the stream began, no later', () => {
  const { lease, silence, pass } = open()
  lease.greet()
  pass(700)
  lease.renew(THEIRS)
  expect(silence()).toBe(700)
})

test('each heartbeat confirms as much later as its sender says, and silence grows between them', () => {
  const { lease, silence, pass } = open()
  lease.greet()
  lease.renew(THEIRS)
  for (let second = 1; second <= 5; second++) {
    pass(1_000)
    expect(silence()).toBe(1_000)
    lease.renew(THEIRS + second * 1_000)
    expect(silence()).toBe(0)
  }
  pass(59_999)
  expect(silence()).toBe(59_999)
})

test('heartbeats that lay in a buffer while we were stopped confirm the time when they were sent', () => {
  const { lease, silence, pass } = open()
  lease.greet()
  lease.renew(THEIRS)
  pass(600_000)
  for (let second = 1; second <= 30; second++) lease.renew(THEIRS + second * 1_000)
  expect(silence()).toBe(570_000)
  lease.renew(THEIRS + 600_000)
  expect(silence()).toBe(0)
})

test('one that was stopped between its greeting and the first heartbeat is not deceived either', () => {
  const { lease, silence, pass } = open()
  lease.greet()
  pass(600_000)
  lease.renew(THEIRS)
  expect(silence()).toBe(600_000)
})

test('a heartbeat that is older than the newest confirms nothing', () => {
  const { lease, silence, pass } = open()
  lease.greet()
  lease.renew(THEIRS)
  pass(1_000)
  lease.renew(THEIRS + 1_000)
  pass(500)
  lease.renew(THEIRS + 200)
  expect(silence()).toBe(500)
})

describe('clocks that jump', () => {
  test.each<readonly [what: string, jump: (world: ReturnType<typeof open>) => void, silence: number]>([
    ['a machine that slept', (world) => world.suspend(90_000), 91_000],
    ['a wall clock set forward', (world) => world.setWall(90_000), 91_000],
    ['a wall clock set back', (world) => world.setWall(-90_000), 1_000],
    ['a monotonic clock set back', (world) => world.setMono(-5_000), Number.POSITIVE_INFINITY],
  ])('%s does not make the lease longer', (_what, jump, silence) => {
    const world = open()
    world.lease.greet()
    world.lease.renew(THEIRS)
    world.pass(1_000)
    jump(world)
    expect(world.silence()).toBe(silence)
  })

  test('an operator’s clock set forward is worth nothing: nothing is sent in the future', () => {
    const { lease, silence, pass } = open()
    lease.greet()
    lease.renew(THEIRS)
    pass(1_000)
    lease.renew(THEIRS + 86_400_000)
    expect(silence()).toBe(0)
    pass(30_000)
    // Still sent at the same moment of its clock, so 30 seconds ago.
    lease.renew(THEIRS + 86_400_000)
    expect(silence()).toBe(30_000)
  })

  test('an operator’s clock set back makes its heartbeats look old, until the next stream', () => {
    const { lease, silence, pass } = open()
    lease.greet()
    lease.renew(THEIRS)
    pass(20_000)
    lease.renew(THEIRS - 100_000)
    expect(silence()).toBe(20_000)
    lease.greet()
    pass(100)
    lease.renew(THEIRS - 99_000)
    expect(silence()).toBe(100)
  })

  test('a number that is none confirms nothing', () => {
    const { lease, silence } = open()
    lease.greet()
    lease.renew(Number.NaN)
    expect(silence()).toBe(Number.POSITIVE_INFINITY)
  })
})
