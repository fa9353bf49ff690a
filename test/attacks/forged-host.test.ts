import { describe } from 'vitest'
import { judgesProofs, openDpopArena, type ProofAttack } from './dpop-arena.ts'

// The proof was made for the attacker's server, which the caller was lured to; the attacker now sends it here.
const arena = await openDpopArena()
const STOLEN = { url: 'https://evil.example/invoices/inv-1' }
const LIES: readonly (readonly [string, string])[] = [
  ['host', 'evil.example'],
  [':authority', 'evil.example'],
  ['x-forwarded-host', 'evil.example'],
  ['x-forwarded-server', 'evil.example'],
  ['x-original-host', 'evil.example'],
  ['x-host', 'evil.example'],
  ['forwarded', 'host=evil.example;proto=https'],
  ['x-forwarded-proto', 'https'],
  ['x-forwarded-prefix', '/'],
  ['x-original-url', 'https://evil.example/invoices/inv-1'],
]

describe('attack 57: a request that says it was sent to the host of a stolen proof', () => {
  judgesProofs(
    arena,
    LIES.map(
      (lie): ProofAttack => [`attack 57: ${lie.join(': ')}`, { proof: STOLEN, headers: [lie] }, 'dpop_htu'],
    ),
  )
  judgesProofs(arena, [
    ['attack 57: all of them together', { proof: STOLEN, headers: LIES }, 'dpop_htu'],
    [
      'attack 57: the target in absolute form',
      { proof: STOLEN, url: 'https://evil.example/invoices/inv-1' },
      'dpop_htu',
    ],
    ['attack 57: an honest proof, whatever the headers say,', { headers: LIES }, 'allow'],
    [
      'attack 57: an honest proof, whatever the target says,',
      { url: 'https://evil.example/invoices/inv-1' },
      'allow',
    ],
  ])
})
