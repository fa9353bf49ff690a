import { askForSlots, askSentinels, type Means, slotsFrom } from './locate.ts'
import { createSeat, type Seat, type SeatNeeds } from './seat.ts'
import type { RedisNode } from './settings.ts'
import { nodeFor, type SlotMap, slotOf } from './slots.ts'

/** Which seat a key belongs to. */
export interface Seats {
  /** `undefined` while nobody is known to have the key. */
  forKey(key: string): Seat | undefined
  /** The seat of a node that a redirection named, when the map knows it; the map of slots is read anew soon. */
  redirected(node: RedisNode): Seat | undefined
  all(): readonly Seat[]
  keep(signal: AbortSignal): Promise<void>
}

/** One server, or one master that sentinels name: every key is there. */
export function createOneSeat(means: Means, needs: SeatNeeds): Seats {
  const { mode, nodes } = means.settings
  const locate =
    mode === 'sentinel' ? (signal: AbortSignal) => askSentinels(means, signal) : async () => nodes[0]
  const seat = createSeat(means, locate, needs)
  return { forKey: () => seat, redirected: () => undefined, all: () => [seat], keep: seat.keep }
}

/** Masters of a cluster at once; more are refused, as one answer of a confused node must not open thousands of connections. */
const MOST_MASTERS = 64
/** Between two readings of the map when nothing hints that it changed. */
const MAP_HEARTBEATS = 5

interface Place {
  readonly seat: Seat
  readonly leave: AbortController
}

/** One seat for each master of a cluster. */
export function createClusterSeats(means: Means, needs: SeatNeeds): Seats {
  const places = new Map<string, Place>()
  let slots: SlotMap = []
  let hint = new AbortController()
  let life: AbortSignal | undefined

  const seatAt = (node: RedisNode): Seat | undefined => places.get(nameOf(node))?.seat
  const take = (node: RedisNode): void => {
    if (seatAt(node) || !life || places.size >= MOST_MASTERS) return
    const seat = createSeat(means, async () => node, {
      ...needs,
      changed(changed, trouble) {
        needs.changed(changed, trouble)
        // A master that went is the first sign of a failover.
        if (trouble) hint.abort()
      },
    })
    const leave = new AbortController()
    places.set(nameOf(node), { seat, leave })
    void seat.keep(AbortSignal.any([life, leave.signal]))
  }
  const adopt = (next: SlotMap): void => {
    slots = next
    const wanted = new Map(next.map(({ node }) => [nameOf(node), node]))
    for (const node of wanted.values()) take(node)
    for (const [name, place] of places) {
      if (wanted.has(name)) continue
      place.leave.abort()
      places.delete(name)
    }
  }
  const refresh = async (signal: AbortSignal): Promise<void> => {
    for (const { seat } of places.values()) {
      const connection = seat.connection()
      const found = connection && (await slotsFrom(connection, signal))
      if (found) return adopt(found)
    }
    const known = slots.map(({ node }) => node)
    const found = await askForSlots(means, [...means.settings.nodes, ...known], signal)
    if (found) adopt(found)
  }
  return {
    forKey(key) {
      const node = nodeFor(slots, slotOf(key))
      return node && seatAt(node)
    },
    redirected(node) {
      hint.abort()
      return seatAt(node)
    },
    all: () => [...places.values()].map(({ seat }) => seat),
    async keep(signal) {
      life = signal
      const { heartbeatMs, retryMs } = means.limits
      while (!signal.aborted) {
        hint = new AbortController()
        await refresh(signal)
        const settled = slots.length > 0 && [...places.values()].every(({ seat }) => seat.connection())
        const wait = settled ? heartbeatMs * MAP_HEARTBEATS : retryMs[0] * 2
        await needs.sleep(wait, AbortSignal.any([signal, hint.signal])).catch(() => undefined)
        // A storm of hints is one hint.
        if (hint.signal.aborted) await needs.sleep(retryMs[0], signal).catch(() => undefined)
      }
      for (const { leave } of places.values()) leave.abort()
    },
  }
}

function nameOf({ host, port }: RedisNode): string {
  return `${host} ${port}`
}
