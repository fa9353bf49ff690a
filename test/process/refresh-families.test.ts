import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { errors } from 'oidc-provider'
import { describe, expect, test } from 'vitest'
import { guardRefreshTokens } from '../examples/oidc-provider-adapter.ts'
import { openFamiliesClient, outcomeOf, statusOf } from '../fixtures/credentials.ts'
import { HOUR_MS, NO_BINDING, NO_FINGERPRINT, newToken } from '../fixtures/families.ts'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { WEB_CLIENT } from '../fixtures/idp-provider.ts'
import type { AdapterFactory } from '../fixtures/idp-store.ts'
import { until } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { type Sidecar, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { openAsker, seen } from './asker.ts'
import { type Ground, openGround, providerConfig } from './ground.ts'

// Refresh families as an authorization server reaches them: the real sidecar, its own socket for credentials, a real oidc-provider.

function socketPath(): string {
  return join(mkdtempSync(join(tmpdir(), 'portcullis-credentials-')), 'run', 'credentials.sock')
}

async function startWith(
  ground: Ground,
  over: Tree = {},
): Promise<{ readonly sidecar: Sidecar; readonly credentials: string }> {
  const credentials = socketPath()
  const listen = { unix: join(ground.directory, 'run', 'check.sock'), tcp: '127.0.0.1:0', credentials }
  const sidecar = await startSidecar({ config: ground.config({ listen, ...over }) })
  return { sidecar, credentials }
}

const registration = (family: string, token: Buffer) => ({
  family,
  token,
  subject: { issuer: 'https://idp.example', subject: 'alice', sessionId: '', clientId: 'demo-web' },
  binding: NO_BINDING,
  expiresAtMs: Date.now() + HOUR_MS,
  accessTokenLifetimeMs: 300_000,
  clientFingerprint: Buffer.from('who signed in'),
})
const rotation = (family: string, presented: Buffer, next = newToken()) => ({
  family,
  presented,
  next,
  binding: NO_BINDING,
  graceMs: 0,
  clientFingerprint: NO_FINGERPRINT,
})

describe('the socket for credentials', () => {
  test('serves RefreshFamilies; the check socket, TCP and the admin port do not; where it is not mounted it is not', async () => {
    using ground = openGround()
    const { sidecar, credentials } = await startWith(ground)
    await using _ = sidecar
    using families = openFamiliesClient(credentials)
    const token = newToken()
    await families.register(registration('grant', token))
    expect(await outcomeOf(families.rotate(rotation('grant', token)))).toBe('rotated')
    expect(await outcomeOf(families.rotate(rotation('grant', token)))).toBe('replay')
    for (const other of [sidecar.unix, sidecar.tcp]) {
      using wrong = openFamiliesClient(other)
      expect(await outcomeOf(wrong.rotate(rotation('grant', token)))).toBe('UNIMPLEMENTED')
    }
    using admin = openFamiliesClient(sidecar.adminAddress)
    expect(await outcomeOf(admin.rotate(rotation('grant', token)))).toMatch(/UNAVAILABLE|INTERNAL/)
    // A container without the mount sees the directory of the check socket alone.
    expect(existsSync(join(ground.directory, 'run', 'credentials.sock'))).toBe(false)
    // And checks are not answered here.
    using asker = openAsker(credentials)
    await expect(asker.ask(question({ token: 'x' }))).rejects.toThrow(`status ${status.UNIMPLEMENTED}`)
  })
  test('000-23: at a replay the log tells both clients by their fingerprints, and no token', async () => {
    using ground = openGround()
    const { sidecar, credentials } = await startWith(ground)
    await using _ = sidecar
    using families = openFamiliesClient(credentials)
    const [token, next, stolen] = [newToken(), newToken(), newToken()]
    await families.register(registration('grant', token))
    const by = (clientFingerprint: Buffer, successor: Buffer) =>
      outcomeOf(families.rotate({ ...rotation('grant', token, successor), clientFingerprint }))
    expect(await by(Buffer.alloc(65), next)).toBe('INVALID_ARGUMENT')
    expect(await by(Buffer.alloc(64, 0xab), next)).toBe('rotated')
    expect(await by(Buffer.from('thief'), stolen)).toBe('replay')
    const line = await sidecar.event('refresh_replay_detected')
    expect(line).toMatchObject({
      family: createHash('sha256').update('grant').digest('hex'),
      registeredBy: Buffer.from('who signed in').toString('hex'),
      usedBy: 'ab'.repeat(64),
      presentedBy: Buffer.from('thief').toString('hex'),
    })
    for (const secret of [token, next, stolen])
      for (const form of [secret.toString(), secret.toString('hex'), secret.toString('base64')])
        expect(JSON.stringify(line)).not.toContain(form)
  })
  test('is not there unless it is asked for', async () => {
    using ground = openGround()
    await using sidecar = await startSidecar({ config: ground.config() })
    expect((await sidecar.event('listening'))['credentials']).toBeUndefined()
  })
  test.each([
    ['a token that could be guessed', { token: Buffer.from('short') }],
    ['a family without a name', { family: '' }],
    ['nobody’s family', { subject: undefined }],
    ['one that lives for ever', { expiresAtMs: Date.now() + 401 * 24 * HOUR_MS }],
    ['one that has ended', { expiresAtMs: Date.now() - 1 }],
    ['a binding without end', { binding: Buffer.alloc(129) }],
    ['a fingerprint without end', { clientFingerprint: Buffer.alloc(65) }],
  ])('refuses to register %s', async (_name, over) => {
    using ground = openGround()
    const { sidecar, credentials } = await startWith(ground)
    await using _ = sidecar
    using families = openFamiliesClient(credentials)
    const asked = families.register({ ...registration('grant', newToken()), ...over })
    expect(await asked.then(() => 'OK', statusOf)).toBe('INVALID_ARGUMENT')
  })
  test('families are in Redis when it is configured, and outlive the sidecar', async () => {
    await using redis = await startRedis()
    using ground = openGround()
    const config = { redis: { mode: 'standalone', nodes: [`127.0.0.1:${redis.port}`] } }
    const token = newToken()
    const next = newToken()
    {
      const { sidecar, credentials } = await startWith(ground, config)
      await using _ = sidecar
      using families = openFamiliesClient(credentials)
      const begun = () =>
        families.register(registration('grant', token)).then(
          () => true as const,
          () => undefined,
        )
      await until('a family', begun, { withinMs: 60_000, everyMs: 100 })
      // A store that is new may have forgotten something: for ten seconds nobody rotates.
      expect(await outcomeOf(families.rotate(rotation('grant', token, next)))).toBe('UNAVAILABLE')
      const rotated = async () =>
        (await outcomeOf(families.rotate(rotation('grant', token, next)))) === 'rotated' || undefined
      await until('a rotation', rotated, { withinMs: 60_000, everyMs: 200 })
    }
    const { sidecar, credentials } = await startWith(openGround(), config)
    await using _ = sidecar
    using families = openFamiliesClient(credentials)
    const verdictOn = (presented: Buffer) => {
      const verdict = async () => {
        const outcome = await outcomeOf(families.rotate(rotation('grant', presented)))
        return outcome === 'UNAVAILABLE' ? undefined : outcome
      }
      return until('a verdict', verdict, { withinMs: 60_000, everyMs: 100 })
    }
    expect(await verdictOn(token)).toBe('replay')
    expect(await verdictOn(next)).toBe('revoked')
  })
})

// A memory that is a short way off, like every database. Beside the process the steps of one request follow each other too closely for
// ten connections that are opened one after the other.
function distant(stock: AdapterFactory): AdapterFactory {
  return (model) => {
    const rows = stock(model)
    const far = async <T>(answer: () => Promise<T>): Promise<T> => {
      await delay(20)
      return answer()
    }
    return {
      upsert: (id, payload) => far(() => rows.upsert(id, payload)),
      find: (id) => far(() => rows.find(id)),
      findByUid: (uid) => far(() => rows.findByUid(uid)),
      findByUserCode: (code) => far(() => rows.findByUserCode(code)),
      consume: (id) => far(() => rows.consume(id)),
      destroy: (id) => far(() => rows.destroy(id)),
      revokeByGrantId: (grantId) => far(() => rows.revokeByGrantId(grantId)),
    }
  }
}

interface Redeemed {
  readonly status: number
  readonly error: unknown
  readonly accessToken: string
  readonly refreshToken: string
}

async function redeem(idp: Idp, refreshToken: string): Promise<Redeemed> {
  const body = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: WEB_CLIENT,
    refresh_token: refreshToken,
  })
  const response = await fetch(`${idp.base}/token`, { method: 'POST', body })
  const answer: unknown = await response.json()
  const text = (member: string) => String(Object(answer)[member] ?? '')
  return {
    status: response.status,
    error: text('error'),
    accessToken: text('access_token'),
    refreshToken: text('refresh_token'),
  }
}

async function tenAtOnce(
  idp: Idp,
): Promise<{ readonly login: string; readonly answers: readonly Redeemed[] }> {
  const { accessToken, refreshToken } = await idp.userTokens('alice')
  if (refreshToken === undefined) throw new Error('the provider gave no refresh token')
  return {
    login: accessToken,
    answers: await Promise.all(Array.from({ length: 10 }, () => redeem(idp, refreshToken))),
  }
}

describe('oidc-provider', () => {
  test('002-01: as it comes, ten redemptions of one refresh token at once: several succeed, and all of their tokens are good', async () => {
    await using idp = await startIdp({
      refresh: (stock) => ({ adapter: distant(stock), request: (serve) => serve() }),
    })
    const { answers } = await tenAtOnce(idp)
    expect(answers.filter(({ status: code }) => code === 200).length).toBeGreaterThan(1)
  })
  test('002-01, 002-04, 002-05: with the guard one wins, both parties hear invalid_grant from then on, and the access tokens are dead', async () => {
    using ground = openGround()
    const credentials = socketPath()
    using families = openFamiliesClient(credentials)
    await using idp = await startIdp({
      refresh: (stock) =>
        guardRefreshTokens(distant(stock), families, {
          // What the issuer calls itself is known once it listens; the adapter is asked later than that.
          get issuer() {
            return idp.issuer
          },
          accessTokenLifetimeMs: 300_000,
          invalidGrant: () => new errors.InvalidGrant('refresh token refused'),
          unavailable: () => new errors.TemporarilyUnavailable('refresh tokens cannot be redeemed now'),
        }),
    })
    const listen = { unix: join(ground.directory, 'run', 'check.sock'), credentials }
    await using sidecar = await startSidecar({
      config: { ...providerConfig(idp, ground, { uri: idp.jwksUri }), listen },
    })
    using asker = openAsker(sidecar.unix)
    const before = (await idp.userTokens('alice')).accessToken
    expect(seen(await asker.ask(question({ token: before }))).verdict).toBe('allow')

    const { login, answers } = await tenAtOnce(idp)
    const winners = answers.filter(({ status: code }) => code === 200)
    expect(winners).toHaveLength(1)
    expect(new Set(answers.filter(({ status: code }) => code !== 200).map(({ error }) => error))).toEqual(
      new Set(['invalid_grant']),
    )
    const [winner] = winners
    // The thief and the robbed: neither goes on.
    expect(await redeem(idp, winner?.refreshToken ?? '')).toMatchObject({
      status: 400,
      error: 'invalid_grant',
    })
    for (const token of [login, winner?.accessToken ?? ''])
      expect(seen(await asker.ask(question({ token })))).toMatchObject({
        verdict: 'revoked_sub',
        status: 401,
      })
    await sidecar.event('refresh_replay_detected')
    const { text } = await sidecar.admin('/metrics')
    expect(text).toMatch(/^refresh_replay_detected_total [1-9]/m)
    expect(text).toMatch(/^token_request_total\{outcome="invalid_grant"\} (?:9|1\d)/m)
    expect(text).toMatch(/^refresh_family_age_seconds_count [1-9]/m)
  })
})
