/** How durations are written in our objects: one number, one unit. Go's parser, which CEL uses, reads the same. */
export const DURATION = '^[0-9]{1,6}(ms|s|m|h)$'

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/** Milliseconds of `90s`, `15m`, `1h`, `250ms`; undefined when the text is not such a duration. */
export function parseDuration(text: string): number | undefined {
  if (!new RegExp(DURATION).test(text)) return undefined
  const unit = text.replace(/^[0-9]+/, '') as keyof typeof UNIT_MS
  return Number.parseInt(text, 10) * UNIT_MS[unit]
}

/** The same for a field of a parsed object, whose form the schema has proven. Throws RangeError on anything else. */
export function durationMs(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new RangeError('not a duration that the schema lets through')
  return ms
}
