import type { Revocation as RevocationObject } from '../../contracts/crd/revocation.ts'
import { type Change, idOf, type LogLimits, ownerOf, type RevocationLog } from './revocation-log.ts'
import { namespaceOf } from './revocation-made.ts'
import { roomOf, sizeOf, writtenLimits } from './revocation-rooms.ts'

export interface Fitting {
  readonly changes: readonly Change[]
  /** By `namespace/name` of the Revocation: why what it says now was not taken. */
  readonly refused: ReadonlyMap<string, string>
}

/**
 * Of these changes those for which there is room: of each object all or nothing, the oldest first, and whatever no object stands behind.
 * As much of the room must stay free as the namespace of an object that grows then holds: whoever writes Revocations in one namespace
 * leaves room for others. Nothing that is in force is dropped for it: an object that has no room for its edit denies what it denied
 * before, for as long as it says now if that is longer.
 */
export function withinShares(
  log: RevocationLog,
  changes: readonly Change[],
  objects: readonly RevocationObject[],
  limits: LogLimits,
): Fitting {
  const owners = new Set(objects.map(({ metadata }) => metadata.uid))
  const asked = Map.groupBy(changes, (change) => {
    const owner = ownerOf(idOf(change))
    return owners.has(owner) ? owner : undefined
  })
  const taken = [...(asked.get(undefined) ?? [])]
  const refused = new Map<string, string>()
  if (taken.length === changes.length) return { changes, refused }
  const room = openRoom(log, new Set(taken.map(idOf)), writtenLimits(limits))
  const waiting = objects.flatMap(({ metadata }) => {
    const own = asked.get(metadata.uid)
    return own ? [{ metadata, own, more: needed(log, own) }] : []
  })
  for (const { metadata, own, more } of waiting.sort(byTurn)) {
    const { namespace, name } = metadata
    const why = room.take(namespace, more)
    if (why === undefined) taken.push(...own)
    else {
      taken.push(...own.filter((change) => prolongs(log, change)))
      refused.set(`${namespace}/${name}`, why)
    }
  }
  return { changes: taken, refused }
}

type Amount = LogLimits
const NONE: Amount = { entries: 0, bytes: 0 }

const sum = (one: Amount, other: Amount): Amount => ({
  entries: one.entries + other.entries,
  bytes: one.bytes + other.bytes,
})

/** Whether the object only says for longer what is in force, and needs no room for that. */
function prolongs({ live }: RevocationLog, change: Change): boolean {
  const old = live.get(idOf(change))
  if (change.op === 'remove' || change.recalled || !old || roomOf(old) !== 'own') return false
  return change.entry.expiresAtMs > old.entry.expiresAtMs && sizeOf(change.entry) <= sizeOf(old.entry)
}

interface Waiting {
  readonly metadata: RevocationObject['metadata']
  readonly more: Amount
}

/** Who makes room before who takes it, and then the oldest first. */
function byTurn(one: Waiting, other: Waiting): number {
  return (
    Number(grows(one.more)) - Number(grows(other.more)) ||
    one.metadata.creationTimestamp.localeCompare(other.metadata.creationTimestamp) ||
    one.metadata.uid.localeCompare(other.metadata.uid)
  )
}

const grows = ({ entries, bytes }: Amount): boolean => entries > 0 || bytes > 0

/** By how much the room of Revocation objects is fuller after these changes. */
function needed({ live }: RevocationLog, changes: readonly Change[]): Amount {
  return changes
    .flatMap((change) => {
      const old = live.get(idOf(change))
      const before = old && roomOf(old) === 'own' ? [{ entries: -1, bytes: -sizeOf(old.entry) }] : []
      if (change.op === 'remove' || change.recalled) return before
      return [{ entries: 1, bytes: sizeOf(change.entry) }, ...before]
    })
    .reduce(sum, NONE)
}

/** The room as it is once `leaving` have left it. */
function openRoom({ live }: RevocationLog, leaving: ReadonlySet<string>, most: LogLimits) {
  const held = new Map<string, Amount>()
  let all = NONE
  const put = (namespace: string, amount: Amount): void => {
    held.set(namespace, sum(held.get(namespace) ?? NONE, amount))
    all = sum(all, amount)
  }
  for (const one of live.values())
    if (roomOf(one) === 'own' && !leaving.has(one.id))
      put(namespaceOf(one.entry), { entries: 1, bytes: sizeOf(one.entry) })
  return {
    /** Why there is no room for so much; undefined when it was taken. */
    take(namespace: string, more: Amount): string | undefined {
      const now = sum(held.get(namespace) ?? NONE, more)
      const left = {
        entries: most.entries - all.entries - more.entries,
        bytes: most.bytes - all.bytes - more.bytes,
      }
      const short = (['entries', 'bytes'] as const).find((what) => more[what] > 0 && now[what] > left[what])
      if (short === undefined) {
        put(namespace, more)
        return undefined
      }
      // No numbers: whatever anybody adds would change them, and with them the status of everything that waits.
      return `log is full: namespace ${namespace} would have more ${short} in force than it leaves room for; remove or shorten other revocations of this namespace`
    },
  }
}
