import { describe } from 'vitest'
import { athOf } from '../fixtures/proofs.ts'
import { tokenOf } from './arena.ts'
import { BOUND, judgesProofs, openDpopArena } from './dpop-arena.ts'

const arena = await openDpopArena()
const token = tokenOf(BOUND)
const other = tokenOf(BOUND)
const bytes = Buffer.from(athOf(token), 'base64url')
const ath = (value: unknown) => ({ token, proof: { claims: { ath: value } } })

describe('attack 58: a proof that was made for no token, or for another one of the same key', () => {
  judgesProofs(arena, [
    ['attack 58: without ath', ath(undefined), 'dpop_ath'],
    ['attack 58, 003-10: the ath of another token', ath(athOf(other)), 'dpop_ath'],
    ['attack 58: the ath of the token with its scheme', ath(athOf(`DPoP ${token}`)), 'dpop_ath'],
    ['attack 58: the ath of nothing', ath(athOf('')), 'dpop_ath'],
    ['attack 58: the ath in hex', ath(bytes.toString('hex')), 'dpop_ath'],
    ['attack 58: the ath in base64', ath(bytes.toString('base64')), 'dpop_ath'],
    ['attack 58: half of the ath', ath(athOf(token).slice(0, 22)), 'dpop_ath'],
    ['attack 58: the ath and more', ath(`${athOf(token)}A`), 'dpop_ath'],
    ['attack 58: the ath in a list', ath([athOf(token)]), 'dpop_ath'],
    ['attack 58: an empty ath', ath(''), 'dpop_ath'],
    ['attack 58: null', ath(null), 'dpop_ath'],
    ['attack 58: true', ath(true), 'dpop_ath'],
    ['attack 58: the ath itself', ath(athOf(token)), 'allow'],
  ])
})
