import { FINGERPRINT_BYTES } from '../../contracts/fingerprint.ts'

/** Deny facts about values of which only the fingerprint is kept: 20 bytes an entry, and as little room beside them as probing allows. */
export interface FingerprintSet {
  readonly size: number
  /** Replaces what was there about the same value. */
  put(fingerprint: string, fact: Fact): void
  remove(fingerprint: string): boolean
  get(fingerprint: string): Fact | undefined
  entries(): Iterable<Fact & { readonly fingerprint: string }>
  /** From now on what is put is told apart from what is there, until `dropOld`. */
  age(): void
  dropOld(): void
  /** Segments; `sweep` takes one at a time, so that no pause grows with the set. */
  readonly segments: number
  /** Forgets what ended at or before `atS`; how many slots it looked at. */
  sweep(segment: number, atS: number): number
}

/** Whole seconds. An entry ends when its end is reached; a token is meant when it was issued at or before. */
export interface Fact {
  readonly expiresS: number
  readonly issuedBeforeS: number
}

const WORDS = 5
const [EXPIRES, ISSUED] = [3, 4]
const [FULLEST, EMPTIEST, GROWTH] = [0.85, 0.4, 1.25]
const SMALLEST = 8
/** Entries of a set that is still in one piece, and pieces of one that is not: a piece of a million holds about 4,000. */
const [WHOLE, PIECES] = [4096, 256]

/** Open addressing with linear probing; no slot is ever marked as deleted, for removal moves the next ones up. */
interface Segment {
  size: number
  capacity: number
  /** Fingerprint (3), end, issued-before; an end of 0 is an empty slot. */
  words: Uint32Array
  /** 1: put since the last `age`. */
  fresh: Uint8Array
}

export function createFingerprintSet(): FingerprintSet {
  let segments: Segment[] = [emptySegment()]
  let size = 0
  const key = new Uint32Array(3)
  const segmentOf = (words: Uint32Array, at: number): Segment => {
    const index = segments.length === 1 ? 0 : (words[at] ?? 0) >>> 24
    return segments[index] ?? emptySegment()
  }
  const locate = (fingerprint: string): { readonly segment: Segment; readonly slot: number } => {
    readKey(fingerprint, key)
    const segment = segmentOf(key, 0)
    return { segment, slot: findSlot(segment, key) }
  }
  // Once in the life of a set that grows: a few thousand entries, a millisecond.
  const split = (): void => {
    const [whole] = segments
    if (!whole || segments.length > 1) return
    segments = Array.from({ length: PIECES }, emptySegment)
    for (const at of occupied(whole)) {
      const segment = segmentOf(whole.words, at)
      copySlot(whole, at / WORDS, segment, freeSlot(segment, whole.words, at))
      grow(segment)
    }
  }
  return {
    get size() {
      return size
    },
    get segments() {
      return segments.length
    },
    put(fingerprint, { expiresS, issuedBeforeS }) {
      if (size >= WHOLE) split()
      const { segment, slot } = locate(fingerprint)
      const at = slot * WORDS
      if (segment.words[at + EXPIRES] === 0) {
        segment.words.set(key, at)
        segment.size++
        size++
      }
      segment.words[at + EXPIRES] = expiresS
      segment.words[at + ISSUED] = issuedBeforeS
      segment.fresh[slot] = 1
      grow(segment)
    },
    remove(fingerprint) {
      const { segment, slot } = locate(fingerprint)
      if (segment.words[slot * WORDS + EXPIRES] === 0) return false
      clearSlot(segment, slot)
      size--
      return true
    },
    get(fingerprint) {
      const { segment, slot } = locate(fingerprint)
      return factAt(segment.words, slot * WORDS)
    },
    *entries() {
      for (const segment of segments) {
        for (const at of occupied(segment)) {
          const fact = factAt(segment.words, at)
          if (fact) yield { fingerprint: keyText(segment.words, at), ...fact }
        }
      }
    },
    age() {
      for (const { fresh } of segments) fresh.fill(0)
    },
    dropOld() {
      for (const segment of segments) {
        size -= dropWhere(segment, (at) => segment.fresh[at / WORDS] === 0)
      }
    },
    sweep(index, atS) {
      const segment = segments[index]
      if (!segment) return 0
      size -= dropWhere(segment, (at) => (segment.words[at + EXPIRES] ?? 0) <= atS)
      return segment.capacity
    },
  }
}

function emptySegment(): Segment {
  return {
    size: 0,
    capacity: SMALLEST,
    words: new Uint32Array(SMALLEST * WORDS),
    fresh: new Uint8Array(SMALLEST),
  }
}

function readKey(fingerprint: string, key: Uint32Array): void {
  for (let word = 0; word < FINGERPRINT_BYTES / 4; word++) {
    const at = word * 4
    key[word] =
      (fingerprint.charCodeAt(at) << 24) |
      (fingerprint.charCodeAt(at + 1) << 16) |
      (fingerprint.charCodeAt(at + 2) << 8) |
      fingerprint.charCodeAt(at + 3)
  }
}

function keyText(words: Uint32Array, at: number): string {
  let text = ''
  for (let word = at; word < at + 3; word++) {
    const value = words[word] ?? 0
    text += String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
  }
  return text
}

function factAt(words: Uint32Array, at: number): Fact | undefined {
  const expiresS = words[at + EXPIRES] ?? 0
  return expiresS === 0 ? undefined : { expiresS, issuedBeforeS: words[at + ISSUED] ?? 0 }
}

// By the last word: the first one chose the segment.
function home({ capacity }: Segment, words: Uint32Array, at: number): number {
  return Math.floor(((words[at + 2] ?? 0) / 2 ** 32) * capacity)
}

/** Where the key is, or the empty slot where it would go. There always is one. */
function findSlot(segment: Segment, key: Uint32Array): number {
  const { words, capacity } = segment
  for (let slot = home(segment, key, 0); ; slot = slot + 1 === capacity ? 0 : slot + 1) {
    const at = slot * WORDS
    if (words[at + EXPIRES] === 0) return slot
    if (words[at] === key[0] && words[at + 1] === key[1] && words[at + 2] === key[2]) return slot
  }
}

function freeSlot(segment: Segment, words: Uint32Array, from: number): number {
  let slot = home(segment, words, from)
  while (segment.words[slot * WORDS + EXPIRES] !== 0) slot = slot + 1 === segment.capacity ? 0 : slot + 1
  return slot
}

function copySlot(from: Segment, slot: number, to: Segment, into: number): void {
  for (let word = 0; word < WORDS; word++)
    to.words[into * WORDS + word] = from.words[slot * WORDS + word] ?? 0
  to.fresh[into] = from.fresh[slot] ?? 0
  to.size++
}

function* occupied({ words, capacity }: Segment): Iterable<number> {
  for (let at = 0; at < capacity * WORDS; at += WORDS) if (words[at + EXPIRES] !== 0) yield at
}

/** Empties a slot and moves up whatever stands behind it because it was taken (Knuth 6.4, algorithm R). */
function clearSlot(segment: Segment, slot: number): void {
  const { words, fresh, capacity } = segment
  segment.size--
  let hole = slot
  for (let next = hole; ; ) {
    words[hole * WORDS + EXPIRES] = 0
    for (;;) {
      next = next + 1 === capacity ? 0 : next + 1
      if (words[next * WORDS + EXPIRES] === 0) return
      const distance = (next - home(segment, words, next * WORDS) + capacity) % capacity
      if (distance >= (next - hole + capacity) % capacity) break
    }
    words.copyWithin(hole * WORDS, next * WORDS, (next + 1) * WORDS)
    fresh[hole] = fresh[next] ?? 0
    hole = next
  }
}

function grow(segment: Segment): void {
  if (segment.size < segment.capacity * FULLEST) return
  resize(segment, Math.ceil(segment.capacity * GROWTH) + 1)
}

function resize(segment: Segment, capacity: number): void {
  const old = { ...segment }
  segment.size = 0
  segment.capacity = capacity
  segment.words = new Uint32Array(capacity * WORDS)
  segment.fresh = new Uint8Array(capacity)
  for (const at of occupied(old)) copySlot(old, at / WORDS, segment, freeSlot(segment, old.words, at))
}

function dropWhere(segment: Segment, goes: (at: number) => boolean): number {
  const before = segment.size
  // What is moved up into the slot just emptied is looked at as well.
  for (let at = 0; at < segment.capacity * WORDS; at += WORDS) {
    while (segment.words[at + EXPIRES] !== 0 && goes(at)) clearSlot(segment, at / WORDS)
  }
  if (segment.capacity > SMALLEST && segment.size < segment.capacity * EMPTIEST)
    resize(segment, Math.max(SMALLEST, Math.ceil(segment.size / 0.7)))
  return before - segment.size
}
