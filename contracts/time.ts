// Kubernetes writes time as RFC 3339 text: `Time` with seconds, `MicroTime` with microseconds (apimachinery meta/v1). The process
// clock is read in main only, so the calendar is worked out here from the milliseconds that were passed in.

const DAY_MS = 86_400_000

/** meta/v1 `Time`: RFC 3339 in UTC, whole seconds. `at`: milliseconds since the epoch. */
export function formatTime(at: number): string {
  return `${formatSeconds(at)}Z`
}

/** meta/v1 `MicroTime`: RFC 3339 in UTC with six decimals. */
export function formatMicroTime(at: number): string {
  const millis = ((Math.floor(at) % 1_000) + 1_000) % 1_000
  return `${formatSeconds(at)}.${String(millis).padStart(3, '0')}000Z`
}

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/

/**
 * Milliseconds since the epoch of a moment as the API server writes it, or a person (RFC 3339 section 5.6, any zone; without leap
 * seconds); `undefined` for anything else. Fractions beyond milliseconds are dropped.
 */
export function parseTime(text: unknown): number | undefined {
  const parts = typeof text === 'string' ? RFC3339.exec(text) : null
  if (!parts) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1, 7).map(Number)
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return undefined
  const [zoneHour, zoneMinute] = [Number(parts[9] ?? 0), Number(parts[10] ?? 0)]
  if (hour > 23 || minute > 59 || second > 59 || zoneHour > 23 || zoneMinute > 59) return undefined
  const millis = Number((parts[7] ?? '').padEnd(3, '0').slice(0, 3))
  const zone = (parts[8] === '-' ? 1 : -1) * (zoneHour * 60 + zoneMinute)
  const minutes = hour * 60 + minute + zone
  return daysBefore(year, month, day) * DAY_MS + (minutes * 60 + second) * 1_000 + millis
}

function formatSeconds(at: number): string {
  const days = Math.floor(at / DAY_MS)
  const seconds = Math.floor((at - days * DAY_MS) / 1_000)
  const [year, month, day] = dateOf(days)
  const clock = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':')
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T${clock}`
}

function dateOf(days: number): readonly [number, number, number] {
  // A guess from the mean length of a Gregorian year is off by one at most.
  let year = 1970 + Math.floor(days / 365.2425)
  while (daysBefore(year, 1, 1) > days) year -= 1
  while (daysBefore(year + 1, 1, 1) <= days) year += 1
  let left = days - daysBefore(year, 1, 1)
  let month = 1
  for (; left >= daysInMonth(year, month); month += 1) left -= daysInMonth(year, month)
  return [year, month, left + 1]
}

/** Days from 1970-01-01 to the given day. */
function daysBefore(year: number, month: number, day: number): number {
  const past = year - 1
  const leaps = Math.floor(past / 4) - Math.floor(past / 100) + Math.floor(past / 400)
  let days = past * 365 + leaps - 719_162 // 0001-01-01 to 1970-01-01
  for (let one = 1; one < month; one += 1) days += daysInMonth(year, one)
  return days + day - 1
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return [4, 6, 9, 11].includes(month) ? 30 : 31
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
