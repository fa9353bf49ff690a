import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatMicroTime, formatTime, parseTime } from '../../contracts/time.ts'

describe('time as the API server writes it and people do', () => {
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
    ['2026-01-01T00:00:00+01:00', Date.UTC(2025, 11, 31, 23)],
    ['2026-01-01t00:00:00.25-05:30z', undefined],
    ['2026-01-01t00:00:00.25-05:30', Date.UTC(2026, 0, 1, 5, 30) + 250],
    ['2026-01-01T00:00:00z', Date.UTC(2026, 0, 1)],
    ['2026-01-01T00:00:00+24:00', undefined],
    ['2026-01-01T00:00:00+01:60', undefined],
    ['2026-01-01', undefined],
    ['', undefined],
    [undefined, undefined],
    [5, undefined],
  ])('%s is %s', (text, want) => {
    expect(parseTime(text)).toBe(want)
  })
  test.each([
    '2026-01-01T00:00:00Z',
    '2024-02-29T23:59:59.999Z',
    '2000-03-01T00:00:00+02:00',
    '1999-12-31T23:59:59-11:30',
    '2100-02-28T12:00:00.5Z',
    '1970-01-01T00:00:00z',
  ])('%s is the moment that the platform reads', (text) => {
    expect(parseTime(text)).toBe(Date.parse(text.toUpperCase()))
  })
})
