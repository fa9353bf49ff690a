import { Fault } from '../ports.ts'
import { createWorkQueue, type QueueOptions } from './queue.ts'
import type { Key } from './resource.ts'
import type { KubePorts } from './transport.ts'

/**
 * What a reconciliation came to. Nothing: the world is as it should be. `requeueAfterMs`: look again then. `refused`: it cannot be
 * done and trying again will not help (say so in the object's status); only a change of the object brings the key back.
 */
export type Reconciled = undefined | { readonly requeueAfterMs: number } | { readonly refused: string }

/** Makes the world of one key as it should be. Throws a Fault when that failed for now. */
export type Reconcile = (key: Key, signal: AbortSignal) => Promise<Reconciled>

export interface ControllerOptions extends QueueOptions {
  readonly reconcile: Reconcile
  /** Keys worked on at the same time. */
  readonly concurrency?: number
  /** After this the signal of a reconciliation aborts. */
  readonly timeoutMs?: number
  /** How long a shutdown waits for work in progress. */
  readonly graceMs?: number
}

export interface Controller extends AsyncDisposable {
  /** Wants the key looked at. Safe to call from a watch handler. */
  enqueue(key: Key, priority?: number): void
  enqueueAfter(key: Key, ms: number): void
}

const TIMEOUT_MS = 60_000
const GRACE_MS = 30_000
const MEASURE_MS = 1_000

/** Starts the workers of one controller. */
export async function openController(options: ControllerOptions, ports: KubePorts): Promise<Controller> {
  const { name, concurrency = 1, graceMs = GRACE_MS } = options
  const labels = { controller: name }
  const queue = createWorkQueue(options, ports)
  const closing = new AbortController()
  ports.metrics.set('controller_runtime_max_concurrent_reconciles', labels, concurrency)
  let active = 0
  const activate = (by: 1 | -1): void => {
    active += by
    ports.metrics.set('controller_runtime_active_workers', labels, active)
  }

  const work = async (): Promise<void> => {
    for (;;) {
      const key = await queue.take(closing.signal)
      if (key === undefined) return
      activate(1)
      const ending = await reconcileOnce(options, key, closing.signal, ports)
      if (ending.kind === 'retry') queue.retry(key)
      else queue.forget(key)
      if (ending.kind === 'later') queue.addAfter(key, ending.ms)
      queue.done(key)
      activate(-1)
    }
  }
  const measure = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      queue.measure()
      await ports.sleep(MEASURE_MS, closing.signal).catch(() => undefined)
    }
  }
  const workers = Promise.all(Array.from({ length: concurrency }, work))
  const measuring = measure()

  return {
    enqueue: queue.add,
    enqueueAfter: queue.addAfter,
    async [Symbol.asyncDispose]() {
      closing.abort()
      queue[Symbol.dispose]()
      const patience = new AbortController()
      const over = ports.sleep(graceMs, patience.signal).then(
        () => ports.report('controller_left_work', { controller: name, active }),
        () => undefined,
      )
      await Promise.race([workers, over])
      patience.abort()
      await measuring
    },
  }
}

type Ending =
  | { readonly kind: 'settled' }
  | { readonly kind: 'retry' }
  | { readonly kind: 'later'; readonly ms: number }

/**
 * One reconciliation, whatever it does. One that ignores its signal keeps its worker and its key: running a key twice at once
 * would be worse, and workqueue_longest_running_processor_seconds shows it.
 */
async function reconcileOnce(
  options: ControllerOptions,
  key: Key,
  closing: AbortSignal,
  ports: KubePorts,
): Promise<Ending> {
  const { name, reconcile, timeoutMs = TIMEOUT_MS } = options
  const limit = createLimit(timeoutMs, closing, ports)
  const startedAt = ports.monotonic()
  try {
    return settled(await reconcile(key, limit.signal), name, key, ports)
  } catch (cause) {
    return failed(cause, limit.late(), { name, key, closing: closing.aborted }, ports)
  } finally {
    limit.end()
    const seconds = (ports.monotonic() - startedAt) / 1_000
    ports.metrics.observe('controller_runtime_reconcile_time_seconds', { controller: name }, seconds)
  }
}

interface Limit {
  readonly signal: AbortSignal
  readonly late: () => boolean
  readonly end: () => void
}

function createLimit(ms: number, closing: AbortSignal, { sleep }: KubePorts): Limit {
  const ended = new AbortController()
  const late = new AbortController()
  sleep(ms, ended.signal).then(
    () => late.abort(new Fault('internal', `not done within ${ms} ms`)),
    () => undefined,
  )
  return {
    signal: AbortSignal.any([closing, late.signal]),
    late: () => late.signal.aborted,
    end: () => ended.abort(),
  }
}

function settled(result: Reconciled, controller: string, key: Key, { metrics, report }: KubePorts): Ending {
  const count = (outcome: string) =>
    metrics.add('controller_runtime_reconcile_total', { controller, result: outcome })
  if (result === undefined) {
    count('success')
    return { kind: 'settled' }
  }
  if ('requeueAfterMs' in result) {
    count('requeue_after')
    return { kind: 'later', ms: result.requeueAfterMs }
  }
  count('error')
  metrics.add('controller_runtime_reconcile_errors_total', { controller })
  metrics.add('controller_runtime_terminal_reconcile_errors_total', { controller })
  report('reconcile_refused', { controller, key, detail: result.refused })
  return { kind: 'settled' }
}

function failed(
  cause: unknown,
  late: boolean,
  { name, key, closing }: { readonly name: string; readonly key: Key; readonly closing: boolean },
  { metrics, report }: KubePorts,
): Ending {
  // Work given up because the process ends is no failure.
  if (closing) return { kind: 'settled' }
  const labels = { controller: name }
  metrics.add('controller_runtime_reconcile_total', { ...labels, result: 'error' })
  metrics.add('controller_runtime_reconcile_errors_total', labels)
  if (late) metrics.add('controller_runtime_reconcile_timeouts_total', labels)
  // Nobody planned for anything but a Fault: a bug, what Go would call a panic.
  const panicked = !late && !(cause instanceof Fault)
  if (panicked) metrics.add('controller_runtime_reconcile_panics_total', labels)
  report('reconcile_failed', { controller: name, key, panicked, late, detail: Fault.from(cause).message })
  return { kind: 'retry' }
}
