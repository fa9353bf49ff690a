import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fact } from '../../../sidecar/ports.ts'
import type { IdentitySettings } from '../../../sidecar/settings.ts'
import { createFakeTime, type FakeTime } from '../fake-time.ts'
import {
  type Authority,
  bundleOf,
  createAuthority,
  createJwtSigner,
  type JwtSigner,
  serverCredential,
} from './authority.ts'
import { openScriptedIssuer, type Script, type ScriptedIssuer } from './scripted-issuer.ts'

// One trust domain with its issuer on loopback, and a clock that the test moves. Certificates of servers are valid for days, so that
// the real clock, which OpenSSL reads, never matters.

export const TRUST_DOMAIN = 'cluster.example'
export const AUDIENCE = `portcullis.dev/${TRUST_DOMAIN}`
export const POD = { uid: 'b1d0-uid', name: 'pod-1', namespace: 'shop', serviceAccount: 'web' } as const
export const WORKLOAD = `spiffe://${TRUST_DOMAIN}/ns/shop/sa/web`

export interface World extends AsyncDisposable {
  readonly time: FakeTime
  readonly script: Script
  readonly issuer: ScriptedIssuer
  readonly settings: IdentitySettings
  readonly authority: Authority
  readonly signer: JwtSigner
  readonly reports: readonly Reported[]
  readonly report: (event: string, facts?: Readonly<Record<string, Fact>>) => void
  readonly lifetime: AbortSignal
  writeToken(claims: object): string
  /** Ports as the rooms of identity take them. */
  readonly ports: {
    readonly wall: () => number
    readonly sleep: FakeTime['sleep']
    readonly random: () => number
    readonly report: World['report']
    readonly lifetime: AbortSignal
    readonly draining: AbortSignal
  }
}

export interface Reported {
  readonly event: string
  readonly facts: Readonly<Record<string, Fact>>
}

export interface WorldOptions {
  /** SPIFFE ID that the issuer's server proves. */
  readonly serverId?: string
  /** Who signed the issuer's server certificate; the trusted root unless said otherwise. */
  readonly serverAuthority?: Authority
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-identity-'))
  const life = new AbortController()
  // On the second, so that a moment can be named exactly in the claims of a token.
  const time = createFakeTime(Math.floor(Date.now() / 1000) * 1000)
  const authority = await createAuthority(TRUST_DOMAIN)
  const signer = createJwtSigner('jwt-1')
  const script = scriptFor(authority, signer, time.now)
  const serverId = options.serverId ?? `spiffe://${TRUST_DOMAIN}/portcullis/operator/issuer/i-1`
  const issuer = await openScriptedIssuer(
    script,
    await serverCredential(options.serverAuthority ?? authority, serverId),
  )
  const tokenFile = join(directory, 'token')
  const writeToken = (claims: object): string => {
    const token = ['{}', JSON.stringify(claims), 'sig']
      .map((one) => Buffer.from(one).toString('base64url'))
      .join('.')
    writeFileSync(tokenFile, `${token}\n`)
    return token
  }
  writeToken({ aud: [AUDIENCE] })
  const to = { host: '127.0.0.1', port: issuer.port }
  const reports: Reported[] = []
  const report: World['report'] = (event, facts = {}) => void reports.push({ event, facts })
  const lifetime = life.signal
  return {
    time,
    script,
    issuer,
    settings: {
      trustDomain: TRUST_DOMAIN,
      audience: AUDIENCE,
      issuer: to,
      feed: to,
      anchors: [authority.root],
      tokenFile,
      anchorsFile: join(directory, 'anchors.pem'),
      pod: POD,
    },
    authority,
    signer,
    reports,
    report,
    lifetime,
    writeToken,
    ports: {
      wall: time.now,
      sleep: time.sleep,
      random: () => 0.5,
      report,
      lifetime,
      draining: new AbortController().signal,
    },
    async [Symbol.asyncDispose]() {
      life.abort()
      await issuer[Symbol.asyncDispose]()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function scriptFor(authority: Authority, signer: JwtSigner, wall: () => number): Script {
  return {
    authority,
    signer,
    bundle: bundleOf({ trustDomain: TRUST_DOMAIN, sequence: 1, authorities: [authority], signers: [signer] }),
    podUid: POD.uid,
    workloadIds: [WORKLOAD],
    hints: [],
    svidTtlMs: 3_600_000,
    jwtTtlMs: 300_000,
    refuse: {},
    spoil: (_method, answer) => answer,
    wall,
  }
}
