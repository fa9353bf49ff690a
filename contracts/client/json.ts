/** Deeper than the sidecar reads (16), shallow enough to end a cycle. */
const DEPTH = 32
/** No more values than this fit into a question of 64 KiB, so that a huge array is not walked to its end. */
const VALUES = 16_384

/**
 * Makes a reader of one tree of facts: a copy that holds JSON values only. The codec would silently turn a Date or a Map
 * into `{}` and lose a member named `__proto__`; a rule would then decide over facts that nobody stored.
 * `complain` hears where and what, never a value.
 */
export function createJsonReader(
  root: string,
  complain: (problem: string) => void,
): (value: unknown) => { [name: string]: unknown } {
  let left = VALUES

  function readValue(value: unknown, path: string, depth: number): unknown {
    left -= 1
    if (depth > DEPTH || left < 0) return refuse(root, 'nested too deep, cyclic or too many values')
    if (Array.isArray(value)) return readList(value, path, depth)
    if (isPlain(value)) return readMembers(value, path, depth)
    if (isScalar(value)) return value
    return refuse(
      path,
      'not a JSON value (convert dates, maps and class instances first; numbers finite, text well-formed)',
    )
  }

  function readList(list: readonly unknown[], path: string, depth: number): unknown[] {
    const copy: unknown[] = []
    for (const item of list) {
      if (left < 0) break
      copy.push(readValue(item, `${path}[]`, depth + 1))
    }
    return copy
  }

  function readMembers(object: object, path: string, depth: number): { [name: string]: unknown } {
    const copy: { [name: string]: unknown } = {}
    for (const [name, value] of Object.entries(object)) {
      if (left < 0) break
      const place = `${path}.${printable(name)}`
      if (name === '__proto__' || !name.isWellFormed()) refuse(place, 'a member of this name cannot be sent')
      else if (value !== undefined) copy[name] = readValue(value, place, depth + 1)
    }
    return copy
  }

  function refuse(path: string, why: string): undefined {
    complain(`${path}: ${why}`)
    return undefined
  }

  return (value) => {
    if (isPlain(value)) return readMembers(value, root, 0)
    refuse(root, 'give a plain object')
    return {}
  }
}

function isScalar(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  return value === null || typeof value === 'boolean' || Number.isFinite(value)
}

/** An object literal, a spread copy, the output of JSON.parse or a null-prototype object, of any realm. */
function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Member names come from callers too; one that does not look like an identifier could be anything, a secret included. */
function printable(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]{0,31}$/.test(name) ? name : '…'
}
