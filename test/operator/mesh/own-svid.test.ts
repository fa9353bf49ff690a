import { createPublicKey } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { proveCsr } from '../../../contracts/csr.ts'
import { createLive } from '../../../operator/mesh/live.ts'
import { type OwnSvidOptions, openOwnSvid } from '../../../operator/mesh/own-svid.ts'
import { type Domain, never, openDomain } from '../identity/domain.ts'

let domain: Domain
beforeAll(async () => {
  domain = await openDomain()
})

interface Asking {
  readonly key: string
  readonly shown: boolean
}

/** An issuer that remembers who asked for what; `answer` says which try is answered. */
function issuer(answer: (tries: number) => boolean, authority = () => domain.authority) {
  const asked: Asking[] = []
  const waits: number[] = []
  const state = { now: domain.now }
  const options: OwnSvidOptions = {
    issue: async (csr, held) => {
      const proven = proveCsr(csr)
      if (!proven.ok) throw new Error(proven.why)
      asked.push({ key: proven.spki.toString('hex'), shown: held !== undefined })
      if (!answer(asked.length)) throw new Error('not now')
      return authority().signX509(
        { path: '/portcullis/operator/control/1', publicKey: proven.key, ttlMs: 3_600_000 },
        state.now,
      )
    },
    now: () => state.now,
    random: () => 0.5,
    // Time passes by waiting only.
    sleep: async (ms, signal) => {
      waits.push(ms)
      await new Promise((resolve) => setTimeout(resolve, 1))
      signal.throwIfAborted()
      state.now += ms
    },
    failed: () => undefined,
  }
  return { options, asked, waits, state }
}
const keyOf = (key: Parameters<typeof createPublicKey>[0]) =>
  createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('hex')

describe('the own SVID', () => {
  test('is asked for with one and the same key until it is given: the first answer may have been lost', async () => {
    const { options, asked } = issuer((tries) => tries > 3)
    await using own = await openOwnSvid(options, never)
    expect(new Set(asked.slice(0, 4).map(({ key }) => key)).size).toBe(1)
    expect(asked.slice(0, 4).every(({ shown }) => !shown)).toBe(true)
    expect(own.current().id.path).toBe('/portcullis/operator/control/1')
    expect(keyOf(own.current().privateKey as never)).toBe(asked[3]?.key)
  })

  test('004-20: is renewed at half of its life, with a new key, and shows the old one', async () => {
    const { options, asked, waits } = issuer((tries) => tries < 4)
    await using own = await openOwnSvid(options, never)
    const first = own.current()
    await expect.poll(() => asked.length).toBeGreaterThanOrEqual(3)
    expect(asked[1]).toMatchObject({ shown: true })
    expect(new Set(asked.slice(0, 3).map(({ key }) => key)).size).toBe(3)
    expect(waits[0]).toBeGreaterThan(1_700_000)
    expect(waits[0]).toBeLessThan(1_850_000)
    expect(own.current().notAfterMs).toBeGreaterThan(first.notAfterMs)
  })

  test('falls back to a bootstrap with its present key when renewals fail, as after the revocation of a root', async () => {
    const { options, asked } = issuer((tries) => tries === 1 || tries === 5)
    await using own = await openOwnSvid(options, never)
    const present = asked[0]?.key
    await expect.poll(() => asked.length).toBeGreaterThanOrEqual(5)
    expect(asked.slice(1, 5).map(({ shown }) => shown)).toEqual([true, false, true, false])
    expect(asked.slice(1, 5).map(({ key }) => key === present)).toEqual([false, true, false, true])
    expect(keyOf(own.current().privateKey as never)).toBeDefined()
  })

  test('is replaced at once, by a bootstrap with its present key, when its root has left the bundle', async () => {
    let authority = domain.authority
    const failures: string[] = []
    const { options, asked } = issuer(
      () => true,
      () => authority,
    )
    const trust = createLive(domain.trust())
    // The wait for half of the life never ends: nothing but the change of trust can make it ask.
    const sleep: OwnSvidOptions['sleep'] = (ms, signal) =>
      new Promise((resolve, reject) => {
        if (ms < 60_000) setTimeout(resolve, 20)
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    const failed = (why: string) => void failures.push(why)
    await using own = await openOwnSvid({ ...options, trust, sleep, failed }, never)
    const { chain } = own.current()
    trust.set({ ...domain.trust(), roots: [...domain.trust().roots] })
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(asked).toHaveLength(1)
    const other = await openDomain()
    trust.set(other.trust())
    // The issuer signs as before until it has heard of it: what it gives then is not taken.
    await expect.poll(() => failures.length).toBeGreaterThan(0)
    expect(asked[1]).toEqual({ key: asked[0]?.key, shown: false })
    expect(own.current().chain).toEqual(chain)
    authority = other.authority
    await expect.poll(() => own.current().chain).not.toEqual(chain)
  })

  test('gives up when it is told to', async () => {
    const stop = new AbortController()
    const { options } = issuer(() => {
      stop.abort(new Error('told to'))
      return false
    })
    await expect(openOwnSvid(options, stop.signal)).rejects.toThrow('told to')
  })
})
