import type { RedisNode } from './settings.ts'
import type { Reply } from './trouble.ts'

/** Slots of a cluster (Redis Cluster specification, "Key distribution model"). */
export const SLOTS = 16_384

/** The slot of a key: CRC16 (XMODEM) of the part in the first pair of braces, or of the whole key when that is empty or missing. */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open + 1)
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key
  let crc = 0
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc % SLOTS
}

/** Which node has which slots. */
export type SlotMap = readonly { readonly from: number; readonly to: number; readonly node: RedisNode }[]

const MOST_RANGES = 4_096

/** The answer to CLUSTER SLOTS, or `undefined` when it is none. A nil or empty host is the one that was asked (Redis 7, CLUSTER SLOTS). */
export function parseSlots(reply: Reply, asked: RedisNode): SlotMap | undefined {
  if (!Array.isArray(reply) || reply.length === 0 || reply.length > MOST_RANGES) return undefined
  const ranges = reply.map((range: Reply) => rangeOf(range, asked))
  const whole = ranges.filter((range) => range !== undefined)
  return whole.length === ranges.length ? whole : undefined
}

function rangeOf(range: Reply, asked: RedisNode): SlotMap[number] | undefined {
  if (!Array.isArray(range)) return undefined
  const [from, to, master]: readonly Reply[] = range
  if (typeof from !== 'number' || typeof to !== 'number' || !Array.isArray(master)) return undefined
  const [host, port]: readonly Reply[] = master
  if (typeof port !== 'number' || (host !== undefined && !Buffer.isBuffer(host))) return undefined
  const name = host?.toString('latin1') ?? ''
  return from >= 0 && from <= to && to < SLOTS
    ? { from, to, node: { host: name || asked.host, port } }
    : undefined
}

export function nodeFor(slots: SlotMap, slot: number): RedisNode | undefined {
  return slots.find(({ from, to }) => slot >= from && slot <= to)?.node
}
