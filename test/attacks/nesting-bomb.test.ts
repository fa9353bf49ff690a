import { describe } from 'vitest'
import { MAX_DEPTH } from '../../contracts/json.ts'
import { signingKey } from '../fixtures/keys.ts'
import { goodClaims, goodHeader } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const key = signingKey()
const lists = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`
const objects = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
const claims = (value: string) => ({
  payloadText: `${JSON.stringify(goodClaims(AT_S)).slice(0, -1)},"x":${value}}`,
})
const header = (value: string) => ({
  headerText: `${JSON.stringify(goodHeader(key)).slice(0, -1)},"x":${value}}`,
})
// The object that holds the claim is the first level.
const DEEPEST = MAX_DEPTH - 1

describe('attack 23: 001-03: a nesting bomb', () => {
  refuses(arena, [
    ['200,000 lists', claims(lists(200_000)), 'request_invalid'],
    ['4,000 lists', claims(lists(4_000)), 'token_too_large'],
    ['2,000 lists', claims(lists(2_000)), 'json_depth'],
    ['500 objects', claims(objects(500)), 'json_depth'],
    ['2,000 lists that never close', claims('['.repeat(2_000)), 'json_depth'],
    ['one list too many', claims(lists(DEEPEST + 1)), 'json_depth'],
    ['one object too many', claims(objects(DEEPEST + 1)), 'json_depth'],
    ['one list too many in the header', header(lists(DEEPEST + 1)), 'json_depth'],
    ['2,000 lists in the header', header(lists(2_000)), 'json_depth'],
    [
      '2,000 lists behind text full of closing brackets',
      claims(`"${']'.repeat(500)}","y":${lists(2_000)}`),
      'json_depth',
    ],
  ])
  admits(arena, [
    ['the deepest lists', claims(lists(DEEPEST))],
    ['the deepest objects', claims(objects(DEEPEST))],
    ['the deepest lists in the header', header(lists(DEEPEST))],
    ['text full of opening brackets', claims(`"${'[{'.repeat(1_000)}"`)],
    ['many shallow lists', claims(`[${Array.from({ length: 900 }, () => '[]').join(',')}]`)],
  ])
})
