import { isUtf8 } from 'node:buffer'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }
export type JsonObject = { readonly [name: string]: Json }

/** Deepest nesting of a header or claim set. */
export const MAX_DEPTH = 16

/** Reasons of a decision, too. */
export type JsonFault = 'json_invalid' | 'json_duplicate' | 'json_depth'

/** A JSON object and the text it was read from. */
export interface ParsedObject {
  readonly value: JsonObject
  readonly text: string
}

/**
 * Strict JSON object: well-formed UTF-8 without BOM, no duplicate member at any level (RFC 7515 section 4, RFC 7519
 * section 4: we take the option to reject), no lone surrogate, no NUL, bounded depth. Every parser must read the same thing.
 */
export function parseObject(bytes: Buffer): ParsedObject | JsonFault {
  if (!isUtf8(bytes)) return 'json_invalid'
  const text = bytes.toString('utf8')
  const shape = scan(text)
  if (shape.depth > MAX_DEPTH) return 'json_depth'
  const value = parse(text)
  if (!isObject(value)) return 'json_invalid'
  // Every member has exactly one colon outside strings, and JSON.parse keeps one member of each name.
  if (countMembers(value) !== shape.colons) return 'json_duplicate'
  if (shape.unicodeEscapes && !allStringsSound(value)) return 'json_invalid'
  return { value, text }
}

interface Shape {
  readonly colons: number
  readonly depth: number
  readonly unicodeEscapes: boolean
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

// One pass without recursion, before JSON.parse, so that a nesting bomb never reaches it.
function scan(text: string): Shape {
  let colons = 0
  let depth = 0
  let deepest = 0
  let unicodeEscapes = false
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE:
        for (i++; i < text.length; i++) {
          const code = text.charCodeAt(i)
          if (code === QUOTE) break
          if (code === BACKSLASH) {
            i++
            unicodeEscapes ||= text.charCodeAt(i) === 0x75
          }
        }
        break
      case 0x3a: // :
        colons++
        break
      case 0x7b: // {
      case 0x5b: // [
        depth++
        if (depth > deepest) deepest = depth
        break
      case 0x7d: // }
      case 0x5d: // ]
        depth--
        break
    }
  }
  return { colons, depth: deepest, unicodeEscapes }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) {
    for (const item of value) count += countMembers(item)
    return count
  }
  for (const item of Object.values(value)) {
    count += typeof item === 'object' ? 1 + countMembers(item) : 1
  }
  return count
}

// Only escapes can smuggle in a lone surrogate or a NUL: raw ones were refused by isUtf8 and JSON.parse.
function allStringsSound(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0')
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([name, item]) => allStringsSound(name) && allStringsSound(item))
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
