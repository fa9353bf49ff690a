import { generateKeyPairSync, sign } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RevokeOutcome } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { ALLOWING, bundleYaml, podYaml, policyYaml, revocationYaml } from './control-objects.ts'
import type { RunningRole } from './control-role.ts'
import { type ControlWorld, denies, openControlWorld, type Sidecar } from './control-world.ts'
import { eventually } from './kube-ground.ts'

const reason = notRun('cluster', 'test/cluster/revocation-log.test.ts', apiUnavailable())

// What machines revoke, through the real roles on a real API server: logout tokens, sidecars, the canary; in segments and in a real Redis.

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }
const issuer = `
apiVersion: portcullis.dev/v1alpha1
kind: TokenIssuer
metadata: { name: idp, namespace: shop }
spec:
  issuer: https://idp.example
  algorithms: [ES256]
  tenant: { type: Fixed, fixed: acme }
  logout: { clientIds: [web] }
  jwks:
    inline: '${JSON.stringify({ keys: [jwk] })}'
`
const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
function logoutToken(sid: string): string {
  const iat = Math.floor(Date.now() / 1000)
  const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
  const claims = {
    iss: 'https://idp.example',
    aud: 'web',
    iat,
    exp: iat + 120,
    jti: `logout-${sid}`,
    events,
    sid,
  }
  const signed = `${b64({ alg: 'ES256', kid: 'k1', typ: 'logout+jwt' })}.${b64(claims)}`
  const key = { key: pair.privateKey, dsaEncoding: 'ieee-p1363' } as const
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`
}
const send = async (control: RunningRole, token: string) =>
  (
    await fetch(`http://127.0.0.1:${control.logout()}/logout/shop/idp`, {
      method: 'POST',
      body: new URLSearchParams({ logout_token: token }),
    })
  ).status
/** Each once: who is told from the beginning again hears them again. */
const sessions = (sidecar: Sidecar): readonly string[] => {
  const told = sidecar.received.flatMap(({ response }) =>
    response.$case === 'revocations'
      ? response.revocations.entries.flatMap(({ subject }) => (subject?.$case === 'sid' ? [subject.sid] : []))
      : [],
  )
  return [...new Set(told)]
}
const served = (sidecar: Sidecar) =>
  eventually(() => expect(sidecar.held().generation).toBeGreaterThan(0), 90_000)

describe.skipIf(reason)('what machines revoke', () => {
  let world: ControlWorld
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
    world = await openControlWorld()
    const pods = ['web-1', 'web-2'].map((name) => podYaml(name))
    await world.apply([issuer, bundleYaml(ALLOWING('a')), policyYaml(), ...pods].join('\n---\n'))
  }, 240_000)
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]()
    await redis?.[Symbol.asyncDispose]()
  }, 60_000)

  test('004-24, 000-17: a logout token and a sidecar reach every sidecar; the canary is measured', async () => {
    await using control = await world.startControl('control-a', { logoutPort: 0 })
    const [one, two] = [await world.sidecar('web-1', control), await world.sidecar('web-2', control)]
    await served(one)
    await served(two)
    const token = logoutToken('s-1')
    await eventually(async () => expect(await send(control, token)).toBe(200), 30_000)
    await eventually(() => expect([sessions(one), sessions(two)]).toEqual([['s-1'], ['s-1']]))
    expect(await send(control, token)).toBe(400)
    expect(await send(control, token.slice(0, -3))).toBe(400)

    const subject = { $case: 'sid', sid: 's-2' } as const
    const common = { id: '', source: '', issuer: 'https://idp.example', issuedBeforeMs: 0 }
    const entries = [{ ...common, subject, expiresAtMs: Date.now() + 600_000 }]
    let question = 6
    // As a sidecar does: until it is stored.
    await eventually(async () => {
      question += 1
      one.send({ $case: 'revoke', revoke: { question, entries } })
      const asked = question
      const { response } = await one.until('revokeAnswer', (told) => told.revokeAnswer.question === asked)
      expect(response.revokeAnswer).toEqual({
        question,
        outcome: RevokeOutcome.REVOKE_OUTCOME_STORED,
        why: '',
      })
    }, 30_000)
    await eventually(() => expect(sessions(two)).toContain('s-2'))
    await eventually(async () => {
      const [, count = '0'] =
        /^revocation_propagation_seconds_count (\d+)/m.exec(await control.metrics()) ?? []
      expect(Number(count)).toBeGreaterThanOrEqual(2)
    }, 60_000)
    expect(control.failed()).toBeUndefined()
    one.close()
    two.close()
  }, 240_000)

  test('attack 81: in Redis, which then loses everything: it is taken back, and nobody is allowed meanwhile', async () => {
    const nodes = [{ host: '127.0.0.1', port: redis.port }]
    const off = { sentinel: undefined, tls: undefined, username: undefined, passwordFile: undefined }
    const settings = { mode: 'standalone', nodes, ...off, keyPrefix: 'portcullis', replicas: 0 } as const
    await using control = await world.startControl('control-r', { logoutPort: 0, redis: settings })
    const sidecar = await world.sidecar('web-1', control)
    await served(sidecar)
    await world.apply(revocationYaml('r1'))
    await eventually(() => expect(denies(sidecar, 'r1')).toBe(true), 30_000)
    // The log of before, in segments, went over.
    expect(sessions(sidecar)).toEqual(expect.arrayContaining(['s-1', 's-2']))
    await eventually(async () => expect(await send(control, logoutToken('s-3'))).toBe(200), 30_000)
    await eventually(() => expect(sessions(sidecar)).toContain('s-3'))
    const [key = ''] = redis.cli('keys', '*').split('\n')
    expect(Number(redis.cli('xlen', key))).toBeGreaterThan(0)

    const { revocationHead } = sidecar.held()
    redis.cli('flushall')
    await eventually(() => expect(control.reports.join('\n')).toContain('state_rolled_back'), 30_000)
    await eventually(() => expect(Number(redis.cli('xlen', key))).toBeGreaterThan(0), 30_000)
    const fresh = await world.sidecar('web-2', control)
    await eventually(() => expect(sessions(fresh)).toContain('s-3'), 30_000)
    await eventually(() => expect(denies(fresh, 'r1')).toBe(true), 30_000)
    await eventually(() => expect(sidecar.held().revocationHead).toBeGreaterThan(revocationHead))
    expect(control.failed()).toBeUndefined()
    fresh.close()
    sidecar.close()
  }, 240_000)
})
