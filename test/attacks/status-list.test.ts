import { describe, expect, test } from 'vitest'
import { admits, openArena, refuses } from './arena.ts'

const URI = 'https://idp.test.example/statuslists/1'
const arena = await openArena()
const listed = (list: unknown) => ({ claims: { status: { status_list: list } } })

// Status lists are not read yet. A token that refers to one may have been revoked there, and the list itself is the bomb: so neither is
// believed, whatever the reference looks like.
describe('attack 86: S6: a reference to a status list', () => {
  refuses(arena, [
    ['one that looks right', listed({ idx: 0, uri: URI }), 'status_invalid'],
    ['a negative index', listed({ idx: -1, uri: URI }), 'status_invalid'],
    ['a fraction for an index', listed({ idx: 1.5, uri: URI }), 'status_invalid'],
    ['an index beyond every list', listed({ idx: Number.MAX_SAFE_INTEGER, uri: URI }), 'status_invalid'],
    ['an index as text', listed({ idx: '0', uri: URI }), 'status_invalid'],
    ['no address', listed({ idx: 0 }), 'status_invalid'],
    [
      'an address of ours to turn inward',
      listed({ idx: 0, uri: 'http://169.254.169.254/' }),
      'status_invalid',
    ],
    ['a list in place of a reference', listed([0, URI]), 'status_invalid'],
    ['nothing in the reference', { claims: { status: {} } }, 'status_invalid'],
    [
      'another mechanism',
      { claims: { status: { identifier_list: { id: '1', uri: URI } } } },
      'status_invalid',
    ],
    ['several of them', { claims: { status: [{ status_list: { idx: 0, uri: URI } }] } }, 'status_invalid'],
  ])

  test('the list, however large, is asked from nobody', async () => {
    const asked: unknown[] = []
    const listening = await openArena({
      refresh: async (...question) => asked.push(question) > 0,
      askEndpoint: async (question) => {
        asked.push(question)
        throw new Error('nobody should be asked')
      },
    })
    expect(await listening.verdict(listed({ idx: 0, uri: URI }))).toBe('status_invalid')
    expect(asked).toEqual([])
  })

  admits(arena, [
    ['no status', { claims: { status: undefined } }],
    // Private claims of that name are older than the draft, and refer to nothing.
    ['a status that is a word', { claims: { status: 'active' } }],
  ])
})
