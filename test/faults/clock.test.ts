// D1 to D4, F1: the wall clock of the sidecar jumps, or its process stands still. An expired token is never valid again, and nothing flaps.
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { until } from '../fixtures/process.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { constant, forge } from '../fixtures/tokens.ts'
import { CLOCK_CAN_BE_MOVED, openClock } from './clock.ts'
import { NEW, OLD, openStage, type Stage } from './stage.ts'

const HOUR = 3_600
const nowS = () => Math.floor(Date.now() / 1000)
const junk = forge({ key: OLD, header: { kid: 'junk' }, sign: constant(Buffer.alloc(256)) })
const verdict = async (asked: ReturnType<Stage['raw']['check']>) => {
  const reply = await asked
  return 'response' in reply ? verdictOf(reply.response) : `status ${reply.status.code}`
}
const ready = async ({ sidecar }: Stage) => (await sidecar.admin('/readyz')).status

describe.skipIf(!CLOCK_CAN_BE_MOVED)('the wall clock jumps', () => {
  test('fault D1: an hour ahead: tokens expire early, those of that hour pass, what is held by the monotonic clock is unaffected', async () => {
    using clock = openClock()
    await using stage = await openStage({ env: clock.env })
    const token = forge({ key: OLD })
    expect(await stage.ask(token)).toBe('allow')
    expect(await stage.ask(junk)).toBe('kid_unknown')
    const fetches = stage.issuer.askedAt.length
    clock.step(HOUR)
    await stage.becomes(token, 'expired')
    for (let i = 0; i < 20; i++) expect(await stage.ask(token)).toBe('expired')
    expect(await stage.ask(forge({ key: OLD, at: nowS() + HOUR }))).toBe('allow')
    // Still known to be unknown: an hour has not gone by.
    expect(await stage.ask(junk)).toBe('kid_unknown')
    expect(stage.issuer.askedAt).toHaveLength(fetches)
    expect(await ready(stage)).toBe(200)
    await stage.sound()
  })

  test('fault D1: further than keys live: no key is believed any more, until a fetch has brought them anew', async () => {
    using clock = openClock()
    await using stage = await openStage({ env: clock.env, limits: { jwksStaleSeconds: HOUR } })
    await stage.issuer.down()
    clock.step(2 * HOUR)
    const token = forge({ key: OLD, at: nowS() + 2 * HOUR })
    await stage.becomes(token, 'jwks_unavailable')
    for (let i = 0; i < 20; i++) expect(await stage.ask(token)).toBe('jwks_unavailable')
    await stage.issuer.up()
    stage.issuer.publish([OLD, NEW])
    await stage.becomes(forge({ key: NEW, at: nowS() + 2 * HOUR }), 'allow')
    expect(await stage.ask(token)).toBe('allow')
    await stage.sound()
  })

  test('fault D2: an hour back: what has expired stays expired, nothing is allowed on a clock that is not believed; caught up, all is well', async () => {
    using clock = openClock()
    await using stage = await openStage({ env: clock.env })
    const expired = forge({ key: OLD, at: nowS() - 400 })
    const future = forge({ key: OLD, at: nowS() - HOUR })
    const sound = forge({ key: OLD })
    expect(await stage.ask(expired)).toBe('expired')
    expect(await stage.ask(sound)).toBe('allow')
    clock.step(-HOUR)
    await stage.becomes(sound, 'clock_unsafe')
    for (let i = 0; i < 20; i++)
      for (const token of [expired, future, sound]) expect(await stage.ask(token)).toBe('clock_unsafe')
    expect(await ready(stage)).toBe(503)
    expect((await stage.sidecar.admin('/readyz')).text).toContain('clock_unsafe')
    clock.step(0)
    await stage.becomes(sound, 'allow')
    expect(await stage.ask(expired)).toBe('expired')
    expect(await ready(stage)).toBe(200)
    await stage.sound()
  })

  test('fault D3: steps of four seconds to and fro, forty times: sound tokens pass, expired ones do not, readiness does not flap', async () => {
    using clock = openClock()
    await using stage = await openStage({ env: clock.env })
    const sound = forge({ key: OLD })
    const expired = forge({ key: OLD, at: nowS() - 400 })
    for (let i = 0; i < 40; i++) {
      clock.step(i % 2 === 0 ? 2 : -2)
      expect(await stage.ask(sound)).toBe('allow')
      expect(await stage.ask(expired)).toBe('expired')
      expect(await ready(stage)).toBe(200)
    }
    await stage.sound()
  })

  test('fault D6: ten minutes ahead of everybody else tokens of now have expired, ten minutes behind they come from the future', async () => {
    using ahead = openClock()
    using behind = openClock()
    ahead.step(600)
    behind.step(-600)
    await using fast = await openStage({ env: ahead.env })
    await using slow = await openStage({ env: behind.env })
    const token = forge({ key: OLD })
    expect(await fast.ask(token)).toBe('expired')
    expect(await slow.ask(token)).toBe('iat_future')
    expect(await fast.ask(forge({ key: OLD, at: nowS() + 600 }))).toBe('allow')
    expect(await slow.ask(forge({ key: OLD, at: nowS() - 600 }))).toBe('allow')
    await fast.sound()
    await slow.sound()
  })
})

describe('fault D4: the process stands still', () => {
  test('questions that waited meanwhile are answered by the time it is, not by the time they came', async () => {
    await using stage = await openStage()
    const LIFE_S = -55
    const token = forge({ key: OLD, at: nowS() - 300 + LIFE_S })
    expect(await stage.ask(token)).toBe('allow')
    process.kill(stage.sidecar.pid, 'SIGSTOP')
    const waiting = Array.from({ length: 50 }, () =>
      stage.raw.check(question({ token }), { deadlineMs: 30_000 }),
    )
    await until('the end of the token', () => nowS() > decodedExp(token) + SKEW_S || undefined, {
      withinMs: 60_000,
    })
    process.kill(stage.sidecar.pid, 'SIGCONT')
    expect(new Set(await Promise.all(waiting.map(verdict)))).toEqual(new Set(['expired']))
    await stage.becomes(OLD, 'allow')
    await stage.sound()
  })

  test.skipIf(!CLOCK_CAN_BE_MOVED)(
    'keys that went stale meanwhile are believed by no answer after it',
    async () => {
      using clock = openClock()
      await using stage = await openStage({
        env: clock.env,
        limits: { jwksStaleSeconds: 60, jwksRefreshSeconds: 30 },
      })
      expect(await stage.ask(OLD)).toBe('allow')
      await stage.issuer.down()
      process.kill(stage.sidecar.pid, 'SIGSTOP')
      const token = forge({ key: OLD, at: nowS() + 60 })
      const waiting = Array.from({ length: 50 }, () =>
        stage.raw.check(question({ token }), { deadlineMs: 30_000 }),
      )
      // A minute goes by for it while it does not run.
      clock.step(61)
      process.kill(stage.sidecar.pid, 'SIGCONT')
      expect(new Set(await Promise.all(waiting.map(verdict)))).toEqual(new Set(['jwks_unavailable']))
      await stage.issuer.up()
      stage.issuer.publish([OLD, NEW])
      await stage.becomes(forge({ key: NEW, at: nowS() + 61 }), 'allow')
      await stage.sound()
    },
  )
})

// Default of `skewSeconds`, and one.
const SKEW_S = 61

function decodedExp(token: string): number {
  const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
  return typeof claims === 'object' && claims !== null && 'exp' in claims ? Number(claims.exp) : Number.NaN
}

test('fault F1: a stall of seconds: who gave up meanwhile is told nothing, who still waits is allowed, and so is the next', async () => {
  // What sheds under overload must not take one stall for it; its limit four times the shipped one, for other stalls of this machine.
  await using stage = await openStage({ limits: { eventLoopLagMs: 1_000, deadlineMs: 5_000 } })
  const ask = (deadlineMs: number) =>
    stage.raw.check(question({ token: forge({ key: OLD }) }), { deadlineMs })
  expect(await stage.ask(OLD)).toBe('allow')
  process.kill(stage.sidecar.pid, 'SIGSTOP')
  const gaveUp = Array.from({ length: 50 }, () => ask(500))
  const waiting = Array.from({ length: 50 }, () => ask(30_000))
  expect(new Set(await Promise.all(gaveUp.map(verdict)))).toEqual(new Set(['status 4']))
  await delay(5_500)
  process.kill(stage.sidecar.pid, 'SIGCONT')
  expect(new Set(await Promise.all(waiting.map(verdict)))).toEqual(new Set(['allow']))
  for (let i = 0; i < 20; i++) expect(await stage.ask(OLD)).toBe('allow')
  await stage.sound()
})
