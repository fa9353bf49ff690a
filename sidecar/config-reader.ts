import { isAbsolute, resolve } from 'node:path'

/** Reads a tree of unknown values into typed ones and remembers every problem with its path, so that all are told at once. */
export interface Reader {
  readonly problems: string[]
}

export type Fields = Readonly<Record<string, unknown>>

export function createReader(): Reader {
  return { problems: [] }
}

export function complain(reader: Reader, path: string, text: string): undefined {
  reader.problems.push(`${path}: ${text}`)
  return undefined
}

/** An object with no members but the named ones. */
export function readObject(reader: Reader, value: unknown, path: string, names: readonly string[]): Fields {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    complain(reader, path || '(root)', `expected a mapping with some of: ${names.join(', ')}`)
    return {}
  }
  for (const name of Object.keys(value)) {
    if (names.includes(name)) continue
    const near = names.find((one) => one.toLowerCase() === name.toLowerCase() || distanceIsOne(one, name))
    complain(
      reader,
      join(path, name),
      near ? `unknown; did you mean "${near}"?` : `unknown; known here: ${names.join(', ')}`,
    )
  }
  return value as Fields
}

/** Longest text that a configuration may hold in one place. */
const TEXT_LENGTH = 512

export function readText(reader: Reader, value: unknown, path: string, what: string): string | undefined {
  if (typeof value === 'string' && value.length > TEXT_LENGTH)
    return complain(reader, path, `longer than ${TEXT_LENGTH} characters`)
  if (typeof value === 'string' && value !== '') return value
  return complain(reader, path, value === undefined ? `required: ${what}` : `must be text: ${what}`)
}

export function readFlag(reader: Reader, value: unknown, path: string, fallback: boolean): boolean {
  if (value === undefined) return fallback
  if (typeof value === 'boolean') return value
  complain(reader, path, 'must be true or false')
  return fallback
}

export interface Bounds {
  readonly from: number
  readonly to: number
  readonly fallback: number
}

export function readInteger(
  reader: Reader,
  value: unknown,
  path: string,
  { from, to, fallback }: Bounds,
): number {
  if (value === undefined) return fallback
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value
  complain(reader, path, `must be a whole number from ${from} to ${to} (default ${fallback})`)
  return fallback
}

/** What a list holds, in words, and how many of them at most. */
export interface ListOf {
  readonly what: string
  readonly most: number
}

export function readList(
  reader: Reader,
  value: unknown,
  path: string,
  { what, most }: ListOf,
): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0 && value.length <= most) return value
  complain(reader, path, `required: a list of 1 to ${most} ${what}`)
  return []
}

/** A list of texts that differ; none at all where it is not given. */
export function readWords(
  reader: Reader,
  value: unknown,
  path: string,
  { what, most, form }: ListOf & { readonly form: RegExp },
): readonly string[] {
  if (value === undefined) return []
  const items = readList(reader, value, path, { what, most })
  const words = items.filter((item) => typeof item === 'string' && form.test(item))
  if (words.length !== items.length) complain(reader, path, `each must be one of the ${what}`)
  if (new Set(words).size !== words.length) complain(reader, path, 'has a value twice; keep one')
  return words as readonly string[]
}

/** One of a few words, as what it stands for. */
export function readChoice<T>(
  reader: Reader,
  value: unknown,
  path: string,
  { words, fallback }: { readonly words: Readonly<Record<string, T>>; readonly fallback: T },
): T {
  if (value === undefined) return fallback
  const chosen = typeof value === 'string' && Object.hasOwn(words, value) ? words[value] : undefined
  if (chosen !== undefined) return chosen
  complain(reader, path, `must be one of: ${Object.keys(words).join(', ')}`)
  return fallback
}

/** A file mode written in octal as text, such as "0660": YAML would read a bare 0660 as a decimal number. */
export function readMode(reader: Reader, value: unknown, path: string, fallback: number): number {
  if (value === undefined) return fallback
  if (typeof value === 'string' && /^0?[0-7]{3}$/.test(value)) return Number.parseInt(value, 8)
  complain(reader, path, 'must be an octal file mode in quotes, such as "0660"')
  return fallback
}

export function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name
}

/** A path as written in a file that lies in `base`. */
export function fromBase(path: string, base: string): string {
  return isAbsolute(path) ? path : resolve(base, path)
}

function distanceIsOne(known: string, given: string): boolean {
  const [shorter, longer] = known.length < given.length ? [known, given] : [given, known]
  if (longer.length - shorter.length > 1) return false
  let i = 0
  while (i < shorter.length && shorter[i] === longer[i]) i++
  const skip = longer.length === shorter.length ? 1 : 0
  return shorter.slice(i + skip) === longer.slice(i + 1)
}
