import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createWorkQueue, type QueueOptions } from '../../../operator/kube/queue.ts'
import { createGround } from '../../cluster/kube-ground.ts'
import { createFakeTime } from '../../sidecar/fake-time.ts'

function queueWith(options: Partial<QueueOptions> = {}, chance = 0.5) {
  const time = createFakeTime()
  const ground = createGround({ monotonic: time.now, sleep: time.sleep, random: () => chance })
  return { time, ground, queue: createWorkQueue({ name: 'q', ...options }, ground) }
}

type Step =
  | { readonly do: 'event'; readonly key: string; readonly priority: number }
  | { readonly do: 'later'; readonly key: string; readonly ms: number }
  | { readonly do: 'time'; readonly ms: number }
  | { readonly do: 'finish'; readonly failed: boolean }

const never = new AbortController().signal

describe('the work queue', () => {
  test('a key added twice is given out once', async () => {
    const { queue } = queueWith()
    queue.add('a')
    queue.add('a')
    expect(await queue.take(never)).toBe('a')
    expect(queue.depth()).toBe(0)
  })

  test('a key added while it is worked on comes again, afterwards and once', async () => {
    const { queue } = queueWith()
    queue.add('a')
    await queue.take(never)
    queue.add('a')
    queue.add('a')
    expect(queue.depth()).toBe(0)
    queue.done('a')
    expect(queue.depth()).toBe(1)
    expect(await queue.take(never)).toBe('a')
    queue.done('a')
    expect(queue.depth()).toBe(0)
  })

  test('higher priority first, then whoever came first; a priority can rise but not fall', async () => {
    const { queue } = queueWith()
    queue.add('low', -10)
    queue.add('a')
    queue.add('b')
    queue.add('high', 10)
    queue.add('low', 5)
    queue.add('high', 0)
    const order = [
      await queue.take(never),
      await queue.take(never),
      await queue.take(never),
      await queue.take(never),
    ]
    expect(order).toEqual(['high', 'low', 'a', 'b'])
  })

  test('a priority asked for while the key is worked on holds for its next turn', async () => {
    const { queue } = queueWith()
    queue.add('a')
    await queue.take(never)
    queue.add('a', 7)
    queue.add('a', 1)
    queue.add('b', 5)
    queue.done('a')
    expect(await queue.take(never)).toBe('a')
  })

  test.each([
    [0, 4.5],
    [0.5, 5],
    [0.999_999, 5.5],
  ])('with chance %d the first failure waits %d ms', async (chance, ms) => {
    const { queue, time } = queueWith({}, chance)
    queue.retry('a')
    await time.advance(ms - 0.01)
    expect(queue.depth()).toBe(0)
    await time.advance(0.02)
    expect(queue.depth()).toBe(1)
  })

  test('failures in a row wait 5, 10, 20 … ms, up to 1000 s, and success begins anew', async () => {
    const { queue, time } = queueWith()
    const failAndWait = async (ms: number) => {
      queue.retry('a')
      await time.advance(ms - 0.5)
      expect([ms, queue.depth()]).toEqual([ms, 0])
      await time.advance(1)
      expect([ms, await queue.take(never)]).toEqual([ms, 'a'])
      queue.done('a')
    }
    for (let failed = 0; failed < 18; failed += 1) await failAndWait(5 * 2 ** failed)
    await failAndWait(1_000_000)
    await failAndWait(1_000_000)
    queue.forget('a')
    await failAndWait(5)
  })

  test('the wait never exceeds the cap', async () => {
    const { queue, time } = queueWith({ capMs: 40 })
    for (let i = 0; i < 10; i += 1) {
      queue.retry('a')
      await time.advance(44.1)
      expect(await queue.take(never)).toBe('a')
      queue.done('a')
    }
  })

  test('a delayed key is due at its time, the earliest of several, without a timer for each', async () => {
    const { queue, time } = queueWith()
    queue.addAfter('late', 500)
    queue.addAfter('a', 300)
    queue.addAfter('a', 100)
    queue.addAfter('a', 200)
    expect(time.sleeping()).toBe(1)
    await time.advance(99)
    expect(queue.depth()).toBe(0)
    await time.advance(1)
    expect(queue.depth()).toBe(1)
    await time.advance(1_000)
    expect(queue.depth()).toBe(2)
    expect(time.sleeping()).toBe(0)
  })

  test('waiting takers end with their signal, and one that leaves passes its key on', async () => {
    const { queue } = queueWith()
    const stop = new AbortController()
    const first = queue.take(stop.signal)
    const second = queue.take(never)
    queue.add('a')
    stop.abort()
    expect([await first, await second].filter((key) => key !== undefined)).toEqual(['a'])
  })

  test('disposed of, it gives out nothing, takes nothing and sleeps no more', async () => {
    const { queue, time } = queueWith()
    const taker = queue.take(never)
    queue.addAfter('a', 10)
    queue[Symbol.dispose]()
    queue.add('b')
    queue.addAfter('c', 10)
    queue.retry('d')
    await time.advance(100)
    expect(await taker).toBeUndefined()
    expect([queue.depth(), time.sleeping()]).toEqual([0, 0])
  })

  test('it counts what controller-runtime counts', async () => {
    const { queue, time, ground } = queueWith()
    queue.add('a')
    queue.add('a')
    queue.add('b', 3)
    expect(ground.count('workqueue_depth', { priority: '0' })).toBe(1)
    expect(ground.count('workqueue_depth', { priority: '3' })).toBe(1)
    await queue.take(never)
    await queue.take(never)
    await time.advance(2_000)
    queue.measure()
    expect(ground.count('workqueue_unfinished_work_seconds')).toBe(4)
    expect(ground.count('workqueue_longest_running_processor_seconds')).toBe(2)
    queue.done('a')
    queue.done('b')
    queue.measure()
    expect(ground.count('workqueue_unfinished_work_seconds')).toBe(0)
    expect(ground.count('workqueue_adds_total')).toBe(2)
    expect(ground.count('workqueue_queue_duration_seconds')).toBe(2)
    expect(ground.count('workqueue_work_duration_seconds')).toBe(2)
    expect(ground.count('workqueue_depth')).toBe(0)
  })

  test('no key is ever worked on twice at once, and the last event of every key is always seen', async () => {
    const step = fc.oneof(
      fc.record({
        do: fc.constant('event' as const),
        key: fc.constantFrom('a', 'b', 'c'),
        priority: fc.integer({ min: -1, max: 1 }),
      }),
      fc.record({
        do: fc.constant('later' as const),
        key: fc.constantFrom('a', 'b', 'c'),
        ms: fc.integer({ min: 0, max: 50 }),
      }),
      fc.record({ do: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ do: fc.constant('finish' as const), failed: fc.boolean() }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        async (script, workers) => {
          const { queue, time } = queueWith({ capMs: 100 })
          const wanted = new Map<string, number>()
          const seen = new Map<string, number>()
          const busy = new Set<string>()
          const finish: ((failed: boolean) => void)[] = []
          const stop = new AbortController()
          const work = async () => {
            for (
              let key = await queue.take(stop.signal);
              key !== undefined;
              key = await queue.take(stop.signal)
            ) {
              expect(busy.has(key)).toBe(false)
              busy.add(key)
              const read = wanted.get(key) ?? 0
              const failed = await new Promise<boolean>((resolve) => finish.push(resolve))
              if (failed) queue.retry(key)
              else {
                seen.set(key, read)
                queue.forget(key)
              }
              busy.delete(key)
              queue.done(key)
            }
          }
          const all = Promise.all(Array.from({ length: workers }, work))
          const play = async (one: Step) => {
            if (one.do === 'time') return time.advance(one.ms)
            if (one.do === 'finish') return finish.shift()?.(one.failed)
            wanted.set(one.key, (wanted.get(one.key) ?? 0) + 1)
            if (one.do === 'event') queue.add(one.key, one.priority)
            else queue.addAfter(one.key, one.ms)
          }
          for (const one of script) {
            await play(one)
            await setImmediate()
          }
          for (let quiet = 0; quiet < 3; quiet += 1) {
            await time.advance(200)
            if (finish.length > 0) quiet = 0
            finish.shift()?.(false)
          }
          expect(seen).toEqual(wanted)
          stop.abort()
          await all
        },
      ),
      { numRuns: 200 },
    )
  })
})
