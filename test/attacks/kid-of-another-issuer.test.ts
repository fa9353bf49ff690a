import { describe } from 'vitest'
import { relabelled, signingKey } from '../fixtures/keys.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import { admits, openArena, refuses, tenantsBy } from './arena.ts'

const OTHER = 'https://other.test.example'
const ours = relabelled(signingKey('RS256', 'ours'), { kid: 'shared' })
const theirs = relabelled(signingKey('RS256', 'theirs'), { kid: 'shared' })
const private_ = signingKey('RS256', 'private')
const tenant = tenantsBy('tenant', ['acme'])
const arena = await openArena({
  issuers: [
    { issuer: ISSUER, keys: [ours, private_], tenant },
    { issuer: OTHER, keys: [theirs], tenant },
  ],
})

describe('attack 16: J11, 001-11: the key of one issuer for the tokens of another', () => {
  refuses(arena, [
    ['our token signed by their key of the same kid', { key: theirs }, 'sig_invalid'],
    ['their token signed by our key of the same kid', { key: ours, claims: { iss: OTHER } }, 'sig_invalid'],
    ['their token under a kid that only we have', { key: private_, claims: { iss: OTHER } }, 'kid_unknown'],
  ])
  admits(arena, [
    ['our token by our key', { key: ours }],
    ['their token by their key', { key: theirs, claims: { iss: OTHER } }],
    ['our token by our other key', { key: private_ }],
  ])
})
