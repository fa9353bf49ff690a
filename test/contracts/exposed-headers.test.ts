import { expect, test } from 'vitest'
import { EXPOSED_HEADERS } from '../../contracts/client.ts'
import { deny, MEANING, type Reason } from '../../sidecar/decision.ts'
import { allowanceHeaders, faceOf } from '../../sidecar/serve/challenge.ts'

/** What a script may read without being told so (Fetch standard). */
const SAFELISTED = [
  'cache-control',
  'content-language',
  'content-length',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
]

test('P8: every line that an answer can bring is one that scripts may read, or is named for Access-Control-Expose-Headers', () => {
  const reasons = Object.keys(MEANING) as Reason[]
  const askers = [{}, { takesProofs: true }, { takesProofs: true, scheme: 'dpop' as const, nonce: 'n' }]
  const faces = reasons.flatMap((reason) =>
    askers.map((asker) => faceOf(deny(reason), 'invoice:read', asker)),
  )
  const lines = [...faces.flatMap(({ headers }) => headers), ...allowanceHeaders('n')]
  const brought = new Set(lines.map(({ name }) => name).filter((name) => !SAFELISTED.includes(name)))
  expect([...brought].sort()).toEqual(EXPOSED_HEADERS.map((name) => name.toLowerCase()).sort())
})
