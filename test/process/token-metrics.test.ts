import { expect, test } from 'vitest'
import { question } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'
import { startSidecar } from '../fixtures/sidecar.ts'
import { AUDIENCE, forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { openGround } from './ground.ts'
import { counterAt } from './scrape.ts'

// What is counted about tokens, of the real program: from a question to the number that an alert looks at.

test('000-06, 000-18, 000-20: each question moves the numbers that it is about, from zero', async () => {
  using ground = openGround()
  await using sidecar = await startSidecar({ config: ground.config({ audience: AUDIENCE }) })
  using raw = openRaw(sidecar.unix)
  const ask = (claims = {}) => verdictAt(raw, question({ token: forge({ claims }) }))
  const numbers = async () => ({
    several: await counterAt(sidecar, 'token_multi_audience_total'),
    elsewhere: await counterAt(sidecar, 'access_token_validation_failure_total', 'reason="aud_mismatch"'),
    hits: await counterAt(sidecar, 'token_cache_lookups_total', 'result="hit"'),
    replays: await counterAt(sidecar, 'refresh_replay_detected_total'),
    skewed: await counterAt(sidecar, 'dpop_proof_failure_total', 'reason="iat_skew"'),
    remembering: await counterAt(sidecar, 'replay_store_state', 'state="memory"'),
  })
  const zero = { several: 0, elsewhere: 0, hits: 0, replays: 0, skewed: 0, remembering: 1 }
  expect(await numbers()).toEqual(zero)

  const once = question({ token: forge() })
  expect(await verdictAt(raw, once)).toBe('allow')
  expect(await verdictAt(raw, once)).toBe('allow')
  expect(await numbers()).toEqual({ ...zero, hits: 1 })

  expect(await ask({ aud: 'https://other.test.example' })).toBe('aud_mismatch')
  expect(await ask({ aud: [AUDIENCE, 'https://other.test.example'] })).toBe('allow')
  expect(await numbers()).toEqual({ ...zero, hits: 1, elsewhere: 1, several: 1 })
})
