import {
  type About,
  FINGERPRINT_KINDS,
  type FingerprintedKind,
  fingerprintOf,
  idOfFingerprint,
  partsOfId,
  placeOf,
} from '../../contracts/fingerprint.ts'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Moment } from '../request.ts'
import { createFingerprintSet, type FingerprintSet } from './fingerprint-set.ts'

/**
 * Entries that machines make, of which there may be a million: one a value, whose id follows from what it is about. Neither id nor text is
 * kept. Ends are rounded up to whole seconds and issued-before down to the second that it means (`iat` is whole seconds).
 */
export interface CompactTable {
  readonly size: number
  put(entry: Revocation, about: About): void
  remove(id: string): void
  has(about: About): boolean
  entries(): Iterable<Revocation>
  /** What is put from now on stays at `dropOld`, and nothing else. */
  age(): void
  dropOld(): void
  /** Forgets what ended at or before `at`, some slots at a time; call it again and again. */
  sweep(at: Moment): void
  of(source: string, issuer: string): CompactKinds | undefined
}

/** What may match a token of one issuer. */
export interface CompactKinds {
  strikes(kind: FingerprintedKind, value: string, issuedAtS: number, at: Moment): boolean
  has(kind: FingerprintedKind): boolean
}

const LATEST = 0xffff_ffff
/** Slots that one sweep looks at. */
const SWEPT = 65_536

export function isFingerprinted(kind: string): kind is FingerprintedKind {
  return Object.hasOwn(FINGERPRINT_KINDS, kind)
}

interface Shelf extends CompactKinds {
  readonly source: string
  readonly issuer: string
  readonly sets: Map<FingerprintedKind, FingerprintSet>
}

export function createCompactTable(keyOf: (source: string, issuer: string) => string): CompactTable {
  const shelves = new Map<string, Shelf>()
  const places = new Map<string, FingerprintSet>()
  // Where the last sweep stopped.
  let cursor = { shelf: 0, segment: 0 }

  const all = (): readonly {
    readonly shelf: Shelf
    readonly kind: FingerprintedKind
    readonly set: FingerprintSet
  }[] =>
    [...shelves.values()].flatMap((shelf) => [...shelf.sets].map(([kind, set]) => ({ shelf, kind, set })))
  // Empty sets go, so that a sidecar without revocations looks nothing up.
  const tidy = (): void => {
    for (const [place, set] of places) if (set.size === 0) places.delete(place)
    for (const [key, { sets }] of shelves) {
      for (const [kind, set] of sets) if (set.size === 0) sets.delete(kind)
      if (sets.size === 0) shelves.delete(key)
    }
  }
  return {
    get size() {
      let size = 0
      for (const { sets } of shelves.values()) for (const set of sets.values()) size += set.size
      return size
    },
    put({ issuedBeforeMs, expiresAtMs }, { source, issuer, kind, place, fingerprint }) {
      const key = keyOf(source, issuer)
      const shelf = shelves.get(key) ?? createShelf(source, issuer)
      shelves.set(key, shelf)
      const set = shelf.sets.get(kind) ?? createFingerprintSet()
      shelf.sets.set(kind, set)
      places.set(place, set)
      set.put(fingerprint, {
        expiresS: Math.min(LATEST, Math.ceil(expiresAtMs / 1000)),
        issuedBeforeS:
          issuedBeforeMs === 0 ? LATEST : Math.min(LATEST - 1, Math.floor(issuedBeforeMs / 1000)),
      })
    },
    remove(id) {
      const parts = partsOfId(id)
      if (!parts || places.get(parts.place)?.remove(parts.fingerprint) !== true) return
      tidy()
    },
    has: (about) => places.get(about.place)?.get(about.fingerprint) !== undefined,
    *entries() {
      for (const { shelf, kind, set } of all()) yield* toldOf(shelf, kind, set)
    },
    age() {
      for (const { set } of all()) set.age()
    },
    dropOld() {
      for (const { set } of all()) set.dropOld()
      tidy()
    },
    sweep(at) {
      const sets = all()
      const atS = Math.floor(at / 1000)
      let [looked, steps] = [0, sets.reduce((sum, { set }) => sum + set.segments, 0)]
      for (; steps > 0 && looked < SWEPT; steps--) {
        if (cursor.segment >= (sets[cursor.shelf]?.set.segments ?? 0))
          cursor = { shelf: (cursor.shelf + 1) % sets.length, segment: 0 }
        looked += sets[cursor.shelf]?.set.sweep(cursor.segment, atS) ?? 0
        cursor.segment++
      }
      tidy()
    },
    of: (source, issuer) => shelves.get(keyOf(source, issuer)),
  }
}

function* toldOf(
  { source, issuer }: Shelf,
  kind: FingerprintedKind,
  set: FingerprintSet,
): Iterable<Revocation> {
  const place = placeOf({ source, issuer, kind })
  for (const { fingerprint, expiresS, issuedBeforeS } of set.entries()) {
    const value = Buffer.from(fingerprint, 'latin1')
    yield {
      id: idOfFingerprint(place, fingerprint),
      subject: { $case: 'fingerprint', fingerprint: { kind: FINGERPRINT_KINDS[kind], value } },
      // 0 says: whenever it was issued. The first second is told by its last millisecond.
      issuedBeforeMs: issuedBeforeS === LATEST ? 0 : Math.max(1, issuedBeforeS * 1000),
      expiresAtMs: expiresS * 1000,
      source,
      issuer,
    }
  }
}

function createShelf(source: string, issuer: string): Shelf {
  const sets = new Map<FingerprintedKind, FingerprintSet>()
  return {
    source,
    issuer,
    sets,
    has: (kind) => sets.has(kind),
    strikes(kind, value, issuedAtS, at) {
      const fact = sets.get(kind)?.get(fingerprintOf({ source, issuer, kind, value }))
      return (
        fact !== undefined &&
        at < fact.expiresS * 1000 &&
        (fact.issuedBeforeS === LATEST || issuedAtS <= fact.issuedBeforeS)
      )
    },
  }
}
