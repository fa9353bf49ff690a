const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/
const DAY_MS = 86_400_000

/** Milliseconds since the epoch of a moment as our objects write it (RFC 3339 section 5.6); undefined when it is none. */
export function parseMoment(text: string): number | undefined {
  const found = RFC3339.exec(text)
  if (!found) return undefined
  const part = (index: number): number => Number(found[index] ?? 0)
  const [month, hour, minute, second] = [part(2), part(4), part(5), part(6)]
  if (month < 1 || month > 12 || part(3) < 1 || part(3) > 31 || hour > 23 || minute > 59 || second > 60)
    return undefined
  const zone = (found[8] === '-' ? 1 : -1) * (part(9) * 60 + part(10)) * 60_000
  const fraction = Math.floor(Number(`0.${found[7] ?? 0}`) * 1000)
  const time = ((hour * 60 + minute) * 60 + second) * 1000 + fraction
  return daysSinceEpoch(part(1), month, part(3)) * DAY_MS + time + zone
}

// Counted in years that begin in March, so that the leap day is the last of its year.
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  const leapDays = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400)
  return y * 365 + leapDays + dayOfYear - 719_468
}
