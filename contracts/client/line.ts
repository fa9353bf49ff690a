import { Lane, type LaneSettings } from './lane.ts'
import { after, jittered, monotonicMs } from './timing.ts'

const BACK_OFF_FIRST_MS = 50
const BACK_OFF_MAX_MS = 1000

/** The way to the sidecar: one lane that takes questions, made when one is needed, and those that only finish. */
export interface Line<A> {
  /** The lane in use, if it is open. Otherwise starts to connect, no sooner than the back-off allows, and wakes later. */
  readonly lane: () => Lane<A> | undefined
  /** Why there is no open lane; `undefined` when there is one. */
  readonly trouble: () => string | undefined
  readonly close: () => void
}

/** Connects only while somebody asks for a lane, so that an idle application leaves a dead sidecar alone. */
export function createLine<A>(
  addresses: readonly string[],
  settings: LaneSettings<A>,
  wake: () => void,
): Line<A> {
  const lanes = new Set<Lane<A>>()
  let current: Lane<A> | undefined
  let attempts = 0
  let failures = 0
  let notBefore = 0
  let trouble = 'not connected yet'
  let stopRetry: (() => void) | undefined

  function lane(): Lane<A> | undefined {
    if (current === undefined) connectInTime()
    return current?.isOpen ? current : undefined
  }

  function connectInTime(): void {
    const waitMs = notBefore - monotonicMs()
    if (waitMs <= 0) connect()
    else stopRetry ??= after(waitMs, retry)
  }

  function retry(): void {
    stopRetry = undefined
    wake()
  }

  function connect(): void {
    const address = addresses[attempts % addresses.length]
    if (address === undefined) return
    attempts += 1
    current = new Lane(address, settings, { freed: wake, retired, gone: (lane) => lanes.delete(lane) })
    lanes.add(current)
  }

  function retired(proven: boolean, detail: string): void {
    current = undefined
    trouble = detail
    failures = proven ? 0 : failures + 1
    const triedAll = attempts % addresses.length === 0
    notBefore = monotonicMs() + (proven || !triedAll ? 0 : backOffMs(failures))
    // Whoever waits gets the next attempt. Not from inside this event: the lane is still taking itself apart.
    queueMicrotask(wake)
  }

  function close(): void {
    stopRetry?.()
    for (const open of [...lanes]) open.close('the client is closed')
  }

  return { lane, trouble: () => (current?.isOpen ? undefined : trouble), close }
}

function backOffMs(failures: number): number {
  return jittered(Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** (failures - 1)))
}
