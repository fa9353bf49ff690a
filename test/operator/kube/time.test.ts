import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatMicroTime, formatTime, parseTime } from '../../../operator/kube/time.ts'

describe('time as Kubernetes writes it', () => {
  test('every millisecond of the years 1 to 9999 is written as the platform writes it', () => {
    const moments = fc.integer({ min: Date.UTC(1, 0, 1) - 59_926_608_000_000, max: Date.UTC(9999, 11, 31) })
    fc.assert(
      fc.property(
        moments.filter((at) => at > -62_135_596_800_000),
        (at) => {
          const iso = new Date(at).toISOString()
          expect(formatTime(at)).toBe(`${iso.slice(0, 19)}Z`)
          expect(formatMicroTime(at)).toBe(`${iso.slice(0, 23)}000Z`)
          expect(parseTime(formatMicroTime(at))).toBe(at)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test.each([
    ['2026-02-28T23:59:59Z', Date.UTC(2026, 1, 28, 23, 59, 59)],
    ['2024-02-29T00:00:00.5Z', Date.UTC(2024, 1, 29) + 500],
    ['2000-02-29T00:00:00.123456Z', Date.UTC(2000, 1, 29) + 123],
    ['1900-02-29T00:00:00Z', undefined],
    ['2026-02-29T00:00:00Z', undefined],
    ['2026-13-01T00:00:00Z', undefined],
    ['2026-00-10T00:00:00Z', undefined],
    ['2026-01-01T24:00:00Z', undefined],
    ['2026-01-01T00:00:00+01:00', undefined],
    ['2026-01-01', undefined],
    ['', undefined],
    [undefined, undefined],
    [5, undefined],
  ])('%s is %s', (text, want) => {
    expect(parseTime(text)).toBe(want)
  })
})
