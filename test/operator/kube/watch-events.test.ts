import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isLater, readEvents, type WatchEvent } from '../../../operator/kube/watch-events.ts'

async function* of(...chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks
}

async function read(...texts: readonly string[]): Promise<readonly WatchEvent[]> {
  return Array.fromAsync(readEvents(of(...texts.map((text) => Buffer.from(text)))))
}

const line = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`
const added = line('ADDED', { metadata: { name: 'x', resourceVersion: '5' } })

describe('a watch stream', () => {
  test('an event, a bookmark, the end of what existed, and an error are told apart', async () => {
    const events = await read(
      added,
      line('BOOKMARK', { metadata: { resourceVersion: '6' } }),
      line('BOOKMARK', {
        metadata: { resourceVersion: '7', annotations: { 'k8s.io/initial-events-end': 'true' } },
      }),
      line('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }),
    )
    expect(events).toMatchObject([
      { kind: 'object', type: 'ADDED', version: '5' },
      { kind: 'bookmark', version: '6', initialEnd: false },
      { kind: 'bookmark', version: '7', initialEnd: true },
      { kind: 'refused', refused: { status: 410, reason: 'Expired', message: 'too old' } },
    ])
  })

  test.each([
    ['no JSON', 'hello\n'],
    ['an unknown type', line('SURPRISE', { metadata: { name: 'x', resourceVersion: '5' } })],
    ['no name', line('ADDED', { metadata: { resourceVersion: '5' } })],
    ['no version', line('MODIFIED', { metadata: { name: 'x' } })],
    ['no object', '{"type":"DELETED"}\n'],
    ['an empty bookmark', line('BOOKMARK', {})],
    ['an array', '[]\n'],
    ['null', 'null\n'],
  ])('%s is garbage, and nothing after it is believed', async (_, text) => {
    expect((await read(added, text, added)).map(({ kind }) => kind)).toEqual(['object', 'garbage'])
  })

  test('a stream that ends within a line says so', async () => {
    expect((await read(added, added.slice(0, 20))).map(({ kind }) => kind)).toEqual(['object', 'garbage'])
  })

  test('an error without a status is a refusal all the same', async () => {
    expect(await read('{"type":"ERROR"}\n')).toMatchObject([{ kind: 'refused', refused: { status: 500 } }])
  })

  test('a line without an end is cut off at its limit', async () => {
    const chunk = 'x'.repeat(1024 * 1024)
    expect(await read(...Array.from({ length: 9 }, () => chunk))).toMatchObject([{ kind: 'garbage' }])
  })

  test('chunks may end anywhere, in the middle of a character too', async () => {
    const texts = fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(texts, fc.array(fc.nat(200), { maxLength: 12 }), async (notes, cuts) => {
        const whole = Buffer.from(
          notes
            .map((note, at) =>
              line('ADDED', { metadata: { name: 'x', resourceVersion: String(at + 1) }, note }),
            )
            .join(''),
        )
        const places = [...new Set(cuts.map((cut) => cut % whole.length))].sort((a, b) => a - b)
        const chunks = [0, ...places].map((from, at) => whole.subarray(from, places[at] ?? whole.length))
        const events = await Array.fromAsync(readEvents(of(...chunks)))
        expect(events.map((event) => (event.kind === 'object' ? event.object : event.kind))).toMatchObject(
          notes.map((note) => ({ note })),
        )
      }),
    )
  })
})

describe('versions', () => {
  test.each([
    ['10', '9', true],
    ['9', '10', false],
    ['10', '10', false],
    ['18446744073709551615', '18446744073709551614', true],
    ['abc', '10', true],
    ['10', 'abc', true],
  ])('%s is later than %s: %s', (version, last, want) => {
    expect(isLater(version, last)).toBe(want)
  })
})
