import { describe, expect, test } from 'vitest'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { openAsker, seen, verdictAt, WAYS } from './asker.ts'
import { type Ground, openGround, providerConfig, replaceFile } from './ground.ts'
import { counterAt } from './scrape.ts'

// The keys of a provider change, vanish and come back while the sidecar runs.

async function fetching(idp: Idp, ground: Ground): Promise<Sidecar> {
  return startSidecar({ config: providerConfig(idp, ground, { uri: idp.jwksUri }) })
}

const aliceAt = async (idp: Idp) => question({ token: (await idp.userTokens('alice')).accessToken })

describe('the provider rotates its key', () => {
  test.each(WAYS)(
    '001-01: the first token under the new kid passes, with exactly one fetch (%s)',
    async (way) => {
      using ground = openGround()
      await using idp = await startIdp()
      await using sidecar = await fetching(idp, ground)
      using asker = openAsker(sidecar.unix, way)
      const before = idp.jwksFetches()
      await idp.rotate()
      expect(seen(await asker.ask(await aliceAt(idp))).verdict).toBe('allow')
      expect(seen(await asker.ask(await aliceAt(idp))).verdict).toBe('allow')
      expect(idp.jwksFetches() - before).toBe(1)
      // 001-19: nobody could know that key before.
      const early = await counterAt(sidecar, 'jwks_key_used_early_total', `issuer="${idp.issuer}"`)
      expect(early).toBe(1)
    },
  )

  test.each(WAYS)('001-06: 50 first tokens at once pass, with exactly one fetch (%s)', async (way) => {
    using ground = openGround()
    await using idp = await startIdp()
    await using sidecar = await fetching(idp, ground)
    using asker = openAsker(sidecar.unix, way)
    const before = idp.jwksFetches()
    await idp.rotate()
    const tokens = await Promise.all(Array.from({ length: 50 }, () => idp.mint()))
    const answers = await Promise.all(tokens.map((token) => asker.ask(question({ token }))))
    expect(answers.map((one) => seen(one).verdict)).toEqual(Array.from({ length: 50 }, () => 'allow'))
    expect(idp.jwksFetches() - before).toBe(1)
  })

  test('tokens under the old key go on while it is published, and stop once it is gone', async () => {
    using ground = openGround()
    await using idp = await startIdp()
    await using sidecar = await fetching(idp, ground)
    using raw = openRaw(sidecar.unix)
    const old = await aliceAt(idp)
    await idp.rotate()
    expect(await verdictAt(raw, await aliceAt(idp))).toBe('allow')
    expect(await verdictAt(raw, old)).toBe('allow')
    await idp.rotate({ keepOld: false })
    expect(await verdictAt(raw, await aliceAt(idp))).toBe('allow')
    expect(await verdictAt(raw, old)).not.toBe('allow')
    // Fetches for a kid in doubt are rationed: the answer may be "cannot know" first.
    const settled = async () => ((await verdictAt(raw, old)) === 'kid_unknown' ? true : undefined)
    await until('a definite answer', settled, { withinMs: 30_000 })
  })

  test('a kid that the provider never had is unknown, and asked for once', async () => {
    using ground = openGround()
    await using idp = await startIdp()
    await using sidecar = await fetching(idp, ground)
    using raw = openRaw(sidecar.unix)
    const before = idp.jwksFetches()
    const stranger = question({ token: await idp.mint({}, { header: { kid: 'never-had' } }) })
    for (let i = 0; i < 20; i++) expect(await verdictAt(raw, stranger)).toBe('kid_unknown')
    expect(idp.jwksFetches() - before).toBe(1)
  })
})

describe('the provider dies', () => {
  test('known keys go on, an unknown one is 503, and both recover by themselves when it is back', async () => {
    using ground = openGround()
    await using idp = await startIdp()
    await using sidecar = await fetching(idp, ground)
    using asker = openAsker(sidecar.unix)
    const known = await aliceAt(idp)
    await idp.rotate()
    const unknown = question({ token: await idp.mint() })
    await idp.kill()

    expect(seen(await asker.ask(known))).toMatchObject({ verdict: 'allow' })
    const refused = seen(await asker.ask(unknown))
    expect(refused).toEqual({ verdict: 'jwks_unavailable', status: 503, challenge: '' })
    expect(seen(await asker.ask(known))).toMatchObject({ verdict: 'allow' })
    expect((await sidecar.admin('/readyz')).status).toBe(200)
    expect((await sidecar.event('jwks_refresh_failed'))['problem']).toContain('ECONNREFUSED')

    await idp.revive()
    const allowed = async () => (seen(await asker.ask(unknown)).verdict === 'allow' ? true : undefined)
    await until('an allowance under the new key', allowed, { withinMs: 60_000, everyMs: 100 })
    expect(seen(await asker.ask(known)).verdict).toBe('allow')
  })

  test('questions under an unknown kid do not knock at a dead provider again and again', async () => {
    using ground = openGround()
    await using idp = await startIdp()
    await using sidecar = await fetching(idp, ground)
    using asker = openAsker(sidecar.unix)
    await idp.rotate()
    const unknown = question({ token: await idp.mint() })
    await idp.kill()
    for (let i = 0; i < 300; i++) expect(seen(await asker.ask(unknown)).verdict).toBe('jwks_unavailable')
    expect(await counterAt(sidecar, 'jwks_refresh_total', 'result="failed"')).toBeLessThan(10)
  })

  test('a sidecar started without its provider denies with not ready keys, and is ready once it is back', async () => {
    using ground = openGround()
    await using idp = await startIdp()
    const known = await aliceAt(idp)
    await idp.kill()
    const config = providerConfig(idp, ground, { uri: idp.jwksUri })
    await using sidecar = await startSidecar({ config, wait: 'listening' })
    await sidecar.event('loaded')
    using asker = openAsker(sidecar.unix)
    const readyz = await sidecar.admin('/readyz')
    expect(readyz.status).toBe(503)
    expect(readyz.text).toContain('no issuer has usable keys')
    expect(seen(await asker.ask(known))).toMatchObject({ verdict: 'jwks_unavailable', status: 503 })
    await idp.revive()
    const ready = async () => ((await sidecar.admin('/readyz')).status === 200 ? true : undefined)
    await until('readiness', ready, { withinMs: 60_000, everyMs: 100 })
    expect(seen(await asker.ask(known)).verdict).toBe('allow')
  })
})

describe('a key file', () => {
  const [first, second] = [signingKey('RS256', 'file-1'), signingKey('RS256', 'file-2')]
  const under = (key: typeof first) => question({ token: forge({ key }) })
  const eventually = (raw: ReturnType<typeof openRaw>, key: typeof first, verdict: string) =>
    until(verdict, async () => ((await verdictAt(raw, under(key))) === verdict ? true : undefined), {
      withinMs: 20_000,
      everyMs: 50,
    })

  test('is read again on SIGHUP, and by itself when it changes', async () => {
    using ground = openGround()
    ground.publish([first])
    await using sidecar = await startSidecar({ config: ground.config() })
    using raw = openRaw(sidecar.unix)
    expect(await verdictAt(raw, under(second))).toBe('kid_unknown')
    ground.publish([first, second])
    sidecar.reload()
    await eventually(raw, second, 'allow')
    ground.publish([second])
    await eventually(raw, first, 'kid_unknown')
  })

  test.each([
    ['garbage', '\u0000\u0001 no JSON at all'],
    ['an empty set', '{"keys":[]}'],
    ['a truncated set', JSON.stringify(jwksOf([first])).slice(0, -40)],
    ['nothing', ''],
  ])('replaced by %s keeps the old keys, and readyz and log say why', async (_what, text) => {
    using ground = openGround()
    ground.publish([first])
    await using sidecar = await startSidecar({ config: ground.config() })
    using raw = openRaw(sidecar.unix)
    replaceFile(ground.jwksFile, text)
    sidecar.reload()
    const failed = await sidecar.event('jwks_refresh_failed')
    expect(failed['problem']).toContain(ground.jwksFile)
    expect(await verdictAt(raw, under(first))).toBe('allow')
    const { status, text: readyz } = await sidecar.admin('/readyz')
    expect(status).toBe(200)
    expect(readyz).toContain(ground.jwksFile)
    expect(await counterAt(sidecar, 'jwks_refresh_total', 'result="failed"')).toBeGreaterThan(0)

    ground.publish([first, second])
    sidecar.reload()
    await eventually(raw, second, 'allow')
    expect((await sidecar.admin('/readyz')).text).not.toContain(ground.jwksFile)
  })

  test('replaced by a set with a secret in it takes the keys away, until a sound one comes', async () => {
    using ground = openGround()
    ground.publish([first])
    await using sidecar = await startSidecar({ config: ground.config() })
    using raw = openRaw(sidecar.unix)
    expect(await verdictAt(raw, under(first))).toBe('allow')
    replaceFile(ground.jwksFile, '{"keys":[{"kty":"oct","kid":"file-1","k":"c2VjcmV0"}]}')
    sidecar.reload()
    const published = await sidecar.event('jwks_secret_published')
    expect(published['problem']).toContain('withdraw it and rotate')
    await eventually(raw, first, 'jwks_unavailable')
    expect((await sidecar.admin('/readyz')).status).toBe(503)
    ground.publish([second])
    sidecar.reload()
    await eventually(raw, second, 'allow')
    expect((await sidecar.admin('/readyz')).status).toBe(200)
  })
})
