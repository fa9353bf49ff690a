import type { Revocation as RevocationObject } from '../../contracts/crd/revocation.ts'
import { type Change, idOf, type LogLimits, type RevocationLog } from './revocation-log.ts'
import { namespaceOf } from './revocation-made.ts'
import { roomOf, sizeOf, writtenLimits } from './revocation-rooms.ts'

export interface Fitting {
  readonly changes: readonly Change[]
  /** By `namespace/name` of the Revocation: why nothing that it adds was taken. */
  readonly refused: ReadonlyMap<string, string>
}

/**
 * Of these changes those for which there is room: whatever objects do not add, and what they add, of each object all or nothing, the
 * oldest first. As much of the room must stay free as the namespace of the object then holds: whoever writes Revocations in one
 * namespace leaves room for every other. Nothing that is in force is dropped for it.
 */
export function withinShares(
  log: RevocationLog,
  changes: readonly Change[],
  objects: readonly RevocationObject[],
  limits: LogLimits,
): Fitting {
  const added = Map.groupBy(changes, (change) =>
    change.op === 'add' && !change.recalled ? ownerOf(change) : undefined,
  )
  const taken = [...(added.get(undefined) ?? [])]
  const refused = new Map<string, string>()
  if (taken.length === changes.length) return { changes, refused }
  const room = openRoom(log, new Set(taken.map(idOf)), writtenLimits(limits))
  for (const { metadata } of objects.toSorted(byAge)) {
    const { uid, namespace, name } = metadata
    const own = added.get(uid)
    if (!own) continue
    const why = room.take(namespace, needed(log, own))
    if (why === undefined) taken.push(...own)
    else refused.set(`${namespace}/${name}`, why)
  }
  return { changes: taken, refused }
}

/** UID of the object that a change is about: ids of the log begin with it. */
export function ownerOf(change: Change): string {
  const id = idOf(change)
  return id.slice(0, id.indexOf('/'))
}

const byAge = ({ metadata: one }: RevocationObject, { metadata: other }: RevocationObject): number =>
  one.creationTimestamp.localeCompare(other.creationTimestamp) || one.uid.localeCompare(other.uid)

type Amount = LogLimits

const sum = (one: Amount, other: Amount): Amount => ({
  entries: one.entries + other.entries,
  bytes: one.bytes + other.bytes,
})

/** What these add to the room of Revocation objects; where they say it otherwise than before, the difference. */
function needed({ live }: RevocationLog, changes: readonly Change[]): Amount {
  return changes
    .flatMap((change) => {
      if (change.op === 'remove') return []
      const old = live.get(change.entry.id)
      const now = { entries: 1, bytes: sizeOf(change.entry) }
      return old && roomOf(old) === 'own' ? [now, { entries: -1, bytes: -sizeOf(old.entry) }] : [now]
    })
    .reduce(sum, { entries: 0, bytes: 0 })
}

/** The room as it is once `leaving` have left it. */
function openRoom({ live }: RevocationLog, leaving: ReadonlySet<string>, most: LogLimits) {
  const held = new Map<string, Amount>()
  let all: Amount = { entries: 0, bytes: 0 }
  const put = (namespace: string, amount: Amount): void => {
    held.set(namespace, sum(held.get(namespace) ?? { entries: 0, bytes: 0 }, amount))
    all = sum(all, amount)
  }
  for (const one of live.values())
    if (roomOf(one) === 'own' && !leaving.has(one.id))
      put(namespaceOf(one.entry), { entries: 1, bytes: sizeOf(one.entry) })
  return {
    /** Why there is no room for so much; undefined when it was taken. */
    take(namespace: string, more: Amount): string | undefined {
      const now = sum(held.get(namespace) ?? { entries: 0, bytes: 0 }, more)
      const left = {
        entries: most.entries - all.entries - more.entries,
        bytes: most.bytes - all.bytes - more.bytes,
      }
      const short = (['entries', 'bytes'] as const).find((what) => more[what] > 0 && now[what] > left[what])
      if (short === undefined) {
        put(namespace, more)
        return undefined
      }
      return `log is full: namespace ${namespace} would have ${now[short]} ${short} in force and leave room for ${Math.max(0, left[short])}, and must leave as much as it has; remove or shorten other revocations of this namespace`
    },
  }
}
