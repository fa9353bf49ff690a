import { randomBytes } from 'node:crypto'
import { type FamiliesClient, openFamiliesClient, outcomeOf } from '../fixtures/credentials.ts'
import { asks, type Row, type Scene } from './scene.ts'
import type { Stage } from './stage.ts'

// A backend for frontends keeps the refresh tokens and has their rotation judged by its sidecar, on the socket that only it has mounted.

const path = '/invoices/a-1'
const own = { status: 200, why: 'invoice.read.owner' }
const LIFETIME_MS = 3_600_000

// One refresh token a letter; what each session is known by.
const REFRESH = { first: newToken(), second: newToken(), stolen: newToken(), bobs: newToken() }
const SESSIONS = { alice: 'session-alice', again: 'session-alice-again', bob: 'session-bob' }

export const sessions: Scene = {
  title: 'The thief has a refresh token, too; and somebody signs out',
  rows: [
    families('alice signs in: a family of refresh tokens begins', 'registered', async (client, { idp }) => {
      await client.register(grant(idp.issuer, 'alice', SESSIONS.alice, REFRESH.first))
      return 'registered'
    }),
    families('her browser: refresh token 1 for 2', 'rotated', (client) =>
      rotated(client, SESSIONS.alice, REFRESH.first, REFRESH.second),
    ),
    asks('an access token of that session', own, async (_cast, { idp }) => ({
      path,
      token: await idp.mint({ sid: SESSIONS.alice }),
    })),
    families('the thief: refresh token 1, which was used', 'replay', (client) =>
      rotated(client, SESSIONS.alice, REFRESH.first, REFRESH.stolen),
    ),
    asks(
      'the session has ended: its access tokens with it',
      { status: 401, why: 'revoked_sid' },
      async (_cast, { idp }) => ({ path, token: await idp.mint({ sid: SESSIONS.alice }) }),
    ),
    families('refresh token 2, whoever has it', 'revoked', (client) =>
      rotated(client, SESSIONS.alice, REFRESH.second, newToken()),
    ),
    asks('alice signs in again', own, async (_cast, { idp }) => ({
      path,
      token: await idp.mint({ sid: SESSIONS.again }),
    })),
    families('bob signs out', 'revoked', async (client, { idp }) => {
      await client.register(grant(idp.issuer, 'bob', SESSIONS.bob, REFRESH.bobs))
      const { accessTokensRevoked } = await client.revoke({
        family: SESSIONS.bob,
        accessTokens: { $case: 'token', token: REFRESH.bobs },
      })
      return accessTokensRevoked ? 'revoked' : 'kept'
    }),
    asks('his access token', { status: 401, why: 'revoked_sid' }, async (_cast, { idp }) => ({
      path,
      token: await idp.mint({ sub: 'bob', sid: SESSIONS.bob }),
    })),
  ],
}

function families(
  request: string,
  expected: string,
  ask: (client: FamiliesClient, stage: Stage) => Promise<string>,
): Row {
  return {
    request,
    expected,
    play: async (stage) => {
      using client = openFamiliesClient(stage.sidecar.credentials)
      return { answer: await ask(client, stage), reason: '' }
    },
  }
}

function grant(issuer: string, subject: string, sessionId: string, token: Buffer) {
  return {
    family: sessionId,
    token,
    subject: { issuer, subject, sessionId, clientId: 'demo-web' },
    binding: Buffer.alloc(0),
    expiresAtMs: Date.now() + LIFETIME_MS,
    accessTokenLifetimeMs: LIFETIME_MS,
    clientFingerprint: Buffer.alloc(0),
  }
}

function rotated(client: FamiliesClient, family: string, presented: Buffer, next: Buffer): Promise<string> {
  const none = Buffer.alloc(0)
  return outcomeOf(
    client.rotate({ family, presented, next, binding: none, graceMs: 0, clientFingerprint: none }),
  )
}

function newToken(): Buffer {
  return Buffer.from(randomBytes(32).toString('base64url'))
}
