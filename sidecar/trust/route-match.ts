const REMEMBERED = 1024

/** What is stated for an action: by its exact name, else by the longest prefix (a pattern that ends in `*`), else `otherwise`. */
export function createRouteMatch<T>(patterns: ReadonlyMap<string, T>, otherwise: T): (action: string) => T {
  if (patterns.size === 0) return () => otherwise
  const prefixes = [...patterns]
    .filter(([pattern]) => pattern.endsWith('*'))
    .map(([pattern, stated]) => ({ prefix: pattern.slice(0, -1), stated }))
    .sort((one, other) => other.prefix.length - one.prefix.length)
  const find = (action: string): T => {
    // An action that itself ends in an asterisk is no prefix: it is looked up among the prefixes like any other.
    const exact = action.endsWith('*') ? undefined : patterns.get(action)
    if (exact !== undefined) return exact
    const longest = prefixes.find(({ prefix }) => action.startsWith(prefix))
    return longest ? longest.stated : otherwise
  }
  // An application asks about few actions; emptied when full.
  const known = new Map<string, { readonly stated: T }>()
  return (action) => {
    const before = known.get(action)
    if (before) return before.stated
    const stated = find(action)
    if (known.size >= REMEMBERED) known.clear()
    known.set(action, { stated })
    return stated
  }
}
