import { describe, expect, test } from 'vitest'
import { type ControllerOptions, openController, type Reconcile } from '../../../operator/kube/controller.ts'
import { Fault } from '../../../operator/ports.ts'
import { createGround } from '../../cluster/kube-ground.ts'
import { createFakeTime } from '../../sidecar/fake-time.ts'

async function controllerWith(reconcile: Reconcile, options: Partial<ControllerOptions> = {}) {
  const time = createFakeTime()
  const ground = createGround({ monotonic: time.now, sleep: time.sleep, random: () => 0.5 })
  const controller = await openController({ name: 'c', reconcile, ...options }, ground)
  return { time, ground, controller }
}

describe('a controller', () => {
  test.each<readonly [string, Reconcile, Readonly<Record<string, number>>, number]>([
    ['success', async () => undefined, { success: 1, error: 0, requeue_after: 0 }, 1],
    ['a later look', async () => ({ requeueAfterMs: 60 }), { success: 0, error: 0, requeue_after: 2 }, 2],
    ['a refusal', async () => ({ refused: 'no such thing' }), { success: 0, error: 1, requeue_after: 0 }, 1],
    [
      'a failure',
      async () => {
        throw new Fault('api', 'down')
      },
      // After 5, 10, 20 and 40 ms.
      { success: 0, error: 5, requeue_after: 0 },
      5,
    ],
  ])('%s is counted, and comes again or not', async (_, reconcile, counts, calls) => {
    let called = 0
    const { time, ground, controller } = await controllerWith((key, signal) => {
      called += 1
      return reconcile(key, signal)
    })
    controller.enqueue('a')
    await time.advance(100)
    for (const [result, want] of Object.entries(counts))
      expect([result, ground.count('controller_runtime_reconcile_total', { result })]).toEqual([result, want])
    expect(called).toBe(calls)
    await controller[Symbol.asyncDispose]()
  })

  test.each([
    ['a Fault is an error', () => new Fault('conflict', 'x'), 0],
    ['anything else is a panic too', () => new TypeError('x of undefined'), 1],
    ['even what is no error at all', () => 'thrown text', 1],
  ])('%s', async (_, thrown, panics) => {
    const { time, ground, controller } = await controllerWith(() => Promise.reject(thrown()))
    controller.enqueue('a')
    await time.advance(1)
    expect(ground.count('controller_runtime_reconcile_errors_total')).toBe(1)
    expect(ground.count('controller_runtime_reconcile_panics_total')).toBe(panics)
    expect(ground.count('controller_runtime_active_workers')).toBe(0)
    await controller[Symbol.asyncDispose]()
  })

  test('one that throws before its first await is a panic, not the end of the worker', async () => {
    const seen: string[] = []
    const { time, ground, controller } = await controllerWith((key) => {
      seen.push(key)
      if (seen.length === 1) throw new TypeError('at once')
      return Promise.resolve(undefined)
    })
    controller.enqueue('a')
    controller.enqueue('b')
    await time.advance(10)
    expect(seen).toEqual(['a', 'b', 'a'])
    expect(ground.count('controller_runtime_reconcile_panics_total')).toBe(1)
    await controller[Symbol.asyncDispose]()
  })

  test('a refusal is terminal until the object changes', async () => {
    let called = 0
    const { time, ground, controller } = await controllerWith(async () => {
      called += 1
      return { refused: 'wrong' }
    })
    controller.enqueue('a')
    await time.advance(2_000_000)
    expect(called).toBe(1)
    expect(ground.count('controller_runtime_terminal_reconcile_errors_total')).toBe(1)
    controller.enqueue('a')
    await time.advance(1)
    expect(called).toBe(2)
    await controller[Symbol.asyncDispose]()
  })

  test('past its time limit a reconciliation is told so, counted, and tried again', async () => {
    const reasons: unknown[] = []
    const { time, ground, controller } = await controllerWith(
      (_, signal) =>
        new Promise((__, reject) =>
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason)
            reject(signal.reason)
          }),
        ),
      { timeoutMs: 100 },
    )
    controller.enqueue('a')
    await time.advance(99)
    expect(reasons).toEqual([])
    await time.advance(1)
    expect(reasons).toHaveLength(1)
    expect(ground.count('controller_runtime_reconcile_timeouts_total')).toBe(1)
    expect(ground.count('controller_runtime_reconcile_panics_total')).toBe(0)
    await time.advance(106)
    expect(reasons).toHaveLength(2)
    await controller[Symbol.asyncDispose]()
  })

  test('one that ignores its limit keeps its key: nothing runs twice', async () => {
    let running = 0
    let most = 0
    let finish: () => void = () => undefined
    const { time, controller } = await controllerWith(
      async () => {
        running += 1
        most = Math.max(most, running)
        await new Promise<void>((resolve) => {
          finish = resolve
        })
        running -= 1
        return undefined
      },
      { timeoutMs: 10, concurrency: 3 },
    )
    controller.enqueue('a')
    await time.advance(100)
    controller.enqueue('a')
    await time.advance(100)
    expect(most).toBe(1)
    finish()
    await time.advance(1)
    expect([most, running]).toEqual([1, 1])
    finish()
    await controller[Symbol.asyncDispose]()
  })

  test('as many run at once as were allowed', async () => {
    let running = 0
    const finish: (() => void)[] = []
    const { time, ground, controller } = await controllerWith(
      async () => {
        running += 1
        await new Promise<void>((resolve) => finish.push(resolve))
        running -= 1
        return undefined
      },
      { concurrency: 2 },
    )
    for (const key of ['a', 'b', 'c', 'd']) controller.enqueue(key)
    await time.advance(1)
    expect(running).toBe(2)
    expect(ground.count('controller_runtime_active_workers')).toBe(2)
    while (finish.length > 0) {
      finish.shift()?.()
      await time.advance(1)
    }
    expect(running).toBe(0)
    await controller[Symbol.asyncDispose]()
  })

  test('shutting down stops work by its signal and waits for it, but not for ever', async () => {
    const { time, ground, controller } = await controllerWith(() => new Promise(() => undefined), {
      graceMs: 500,
    })
    controller.enqueue('a')
    await time.advance(1)
    let closed = false
    const closing = controller[Symbol.asyncDispose]().then(() => {
      closed = true
    })
    await time.advance(499)
    expect(closed).toBe(false)
    await time.advance(1)
    await closing
    expect(ground.reports.join()).toContain('controller_left_work')
  })

  test('work that ends because the process does is no failure', async () => {
    const { time, ground, controller } = await controllerWith(
      (_, signal) =>
        new Promise((__, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    )
    controller.enqueue('a')
    await time.advance(1)
    await controller[Symbol.asyncDispose]()
    expect(ground.count('controller_runtime_reconcile_errors_total')).toBe(0)
    expect(ground.reports).toEqual([])
  })
})
