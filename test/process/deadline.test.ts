import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { question, statusOf, verdictOf } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'
import type { Sidecar, Tree } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { openGround } from './ground.ts'
import { type KeyServer, startFetching, startKeyServer } from './key-server.ts'
import { counterAt } from './scrape.ts'

// A caller that stops waiting is never told yes, whatever it waited for. A question is parked by a `kid` that nobody
// knows yet and a key server that takes the question for it and stays silent.

const CANCELLED = 'status 1'
const EXPIRED = 'status 4'
const later = signingKey('RS256', 'later')

const good = (timeoutMs = 0) => question({ token: forge(), timeoutMs })
const parked = (timeoutMs = 0) => question({ token: forge({ key: later }), timeoutMs })

interface Scene extends AsyncDisposable {
  readonly sidecar: Sidecar
  readonly keys: KeyServer
}

// A sidecar with one known key, and a key server that hangs from now on.
async function openScene(over: Tree = {}): Promise<Scene> {
  await using opening = new AsyncDisposableStack()
  const ground = opening.use(openGround())
  const keys = opening.use(await startKeyServer())
  const sidecar = opening.use(await startFetching(ground, keys, over))
  keys.hang()
  const opened = opening.move()
  return { sidecar, keys, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

const fetchUnderWay = (keys: KeyServer) => until('a hanging fetch', () => keys.hanging() || undefined)
const reasons = (sidecar: Sidecar) => sidecar.decisions.map((line) => line['reason'] ?? 'allow')
const logged = (sidecar: Sidecar, reason: string) =>
  until(`a line with ${reason}`, () => (reasons(sidecar).includes(reason) ? true : undefined))

describe('a deadline', () => {
  test('that has passed before the question is sent is no allow, though the token is good', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    for (const deadlineMs of [-60_000, -1, 0]) {
      const reply = await raw.check(good(), { deadlineMs })
      expect(reply).toMatchObject({ status: { code: 4 } })
    }
  })

  test('that passes while keys are fetched ends in no answer on the wire and `deadline` in the log', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    // The connection is there, so that the question arrives before its deadline; a question is parked for three seconds at most.
    expect(await verdictAt(raw, good())).toBe('allow')
    const reply = await raw.check(parked(), { deadlineMs: 1_500 })
    expect(reply).toMatchObject({ status: { code: 4 } })
    // The transport notices on its own that the caller is gone, sometimes a moment before the clock does.
    const line = await until('the line of the decision', () =>
      scene.sidecar.decisions.find(({ reason }) => reason === 'deadline' || reason === 'cancelled'),
    )
    expect(line).toMatchObject({ outcome: 'deny', status: 503 })
  })

  test.each(['unary', 'stream'])('of the message itself counts as well (%s)', async (way) => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const answered = async () => {
      if (way === 'unary') {
        const reply = await raw.check(parked(100))
        return 'response' in reply ? reply.response : undefined
      }
      const stream = raw.stream()
      stream.send({ id: 1, check: parked(100) })
      return (await stream.next())?.check
    }
    const response = await answered()
    expect(response && [verdictOf(response), statusOf(response)]).toEqual(['deadline', 503])
    await logged(scene.sidecar, 'deadline')
  })

  test('that the configuration sets bounds a caller that names none', async () => {
    await using scene = await openScene({ limits: { deadlineMs: 50 } })
    using raw = openRaw(scene.sidecar.unix)
    expect(await verdictAt(raw, parked())).toBe('deadline')
  })

  test('of one question on a stream leaves the others alone', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const stream = raw.stream()
    stream.send({ id: 1, check: parked(2_000) })
    stream.send({ id: 2, check: good() })
    const first = await stream.next()
    const second = await stream.next()
    expect([first?.id, first?.check && verdictOf(first.check)]).toEqual([2, 'allow'])
    expect([second?.id, second?.check && verdictOf(second.check)]).toEqual([1, 'deadline'])
  })

  test('that passes just before the key arrives is still no allow', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const stream = raw.stream()
    stream.send({ id: 1, check: parked(100) })
    await fetchUnderWay(scene.keys)
    const answer = await stream.next()
    scene.keys.serve([signingKey(), later])
    expect(answer?.check && verdictOf(answer.check)).toBe('deadline')
    const known = async () => ((await verdictAt(raw, parked())) === 'allow' ? true : undefined)
    await until('the key after all', known, { withinMs: 20_000 })
  })
})

describe('a caller that hangs up while its question is parked', () => {
  test('gets no answer, and the log says `cancelled`', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const hangUp = new AbortController()
    const reply = raw.check(parked(), { signal: hangUp.signal })
    await fetchUnderWay(scene.keys)
    hangUp.abort()
    expect(await reply).toMatchObject({ status: { code: 1 } })
    await logged(scene.sidecar, 'cancelled')
    expect(
      await counterAt(scene.sidecar, 'portcullis_decisions_total', 'outcome="allow",reason="allowed"'),
    ).toBe(0)
  })

  test('is not counted as allowed although its key arrives afterwards', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const hangUp = new AbortController()
    const reply = raw.check(parked(), { signal: hangUp.signal })
    await fetchUnderWay(scene.keys)
    hangUp.abort()
    await reply
    // What the caller sent before and the sidecar answered after: proof that it has seen the reset.
    expect(await verdictAt(raw, good())).toBe('allow')
    scene.keys.serve([signingKey(), later])
    await until('both lines', () => scene.sidecar.decisions.length >= 2 || undefined)
    expect(reasons(scene.sidecar).toSorted()).toEqual(['allow', 'cancelled'])
  })

  test('with a whole stream leaves nothing behind: every parked question is logged as cancelled', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const stream = raw.stream()
    for (let id = 1; id <= 40; id++) stream.send({ id, check: parked() })
    await fetchUnderWay(scene.keys)
    stream.cancel()
    expect((await stream.status).code).toBe(1)
    await until('40 lines', () => (scene.sidecar.decisions.length >= 40 ? true : undefined))
    expect(new Set(reasons(scene.sidecar))).toEqual(new Set(['cancelled']))
    const idle = async () =>
      (await counterAt(scene.sidecar, 'portcullis_checks_in_flight')) === 0 || undefined
    await until('an empty sidecar', idle)
  })

  test('by closing its connection is the same', async () => {
    await using scene = await openScene()
    const raw = openRaw(scene.sidecar.unix)
    const replies = [raw.check(parked()), raw.check(parked())]
    await fetchUnderWay(scene.keys)
    const hangUp = new AbortController()
    const third = raw.check(parked(), { signal: hangUp.signal })
    hangUp.abort()
    raw.close()
    const outcomes = (await Promise.all([...replies, third])).map((reply) =>
      'response' in reply ? verdictOf(reply.response) : `status ${reply.status.code}`,
    )
    expect(outcomes).not.toContain('allow')
    expect(outcomes.at(-1)).toBe(CANCELLED)
  })
})

describe('many who stop waiting', () => {
  test('never get an allow and cost the ones who wait nothing', async () => {
    await using scene = await openScene()
    using raw = openRaw(scene.sidecar.unix)
    const impatient = Array.from({ length: 100 }, (_, i) => raw.check(parked(), { deadlineMs: 20 + i }))
    const patient = Array.from({ length: 50 }, () => verdictAt(raw, good()))
    expect(new Set(await Promise.all(patient))).toEqual(new Set(['allow']))
    const outcomes = await Promise.all(
      impatient.map(async (one) => {
        const reply = await one
        return 'response' in reply ? verdictOf(reply.response) : `status ${reply.status.code}`
      }),
    )
    expect(outcomes).not.toContain('allow')
    expect(outcomes.filter((one) => one !== EXPIRED && one !== 'deadline' && one !== 'cancelled')).toEqual([])
  })
})
