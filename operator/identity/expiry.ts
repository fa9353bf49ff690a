import { activeOf, type Ring, type Use } from './ring.ts'

/** A rotation that nobody wished for, because a key nears its end. The name is the same however often it is asked for. */
export interface DueRotation {
  readonly name: string
  readonly use: Use
}

/**
 * The rotations that are due: a key that signs is followed by another in the last quarter of its life. A standby of the same age
 * makes the next one due as soon as it signs, so that two rotations bring a new key.
 */
export function dueRotations(
  rings: readonly Ring[],
  underWay: readonly { readonly use: Use }[],
  at: number,
): readonly DueRotation[] {
  return rings.flatMap((ring) => {
    const active = activeOf(ring)
    const busy = underWay.some(({ use }) => use === ring.use)
    if (!active || busy || at < lastQuarter(active)) return []
    const id = active.id
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, '')
      .slice(0, 16)
    return [{ use: ring.use, name: `due-${ring.use.toLowerCase()}-${id}` }]
  })
}

function lastQuarter({
  notBeforeMs,
  notAfterMs,
}: {
  readonly notBeforeMs: number
  readonly notAfterMs: number
}): number {
  return notAfterMs - (notAfterMs - notBeforeMs) / 4
}
