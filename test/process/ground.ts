import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Idp } from '../fixtures/idp.ts'
import { jwksOf, type SigningKey, signingKey } from '../fixtures/keys.ts'
import { forget, tempDirectory } from '../fixtures/process.ts'
import { ROOT, type Tree } from '../fixtures/sidecar.ts'
import { AUDIENCE, ISSUER } from '../fixtures/tokens.ts'

// The files that a sidecar under test reads, and the configuration that names them.

export const BUNDLES = {
  invoices: join(ROOT, 'policies/invoices/bundle'),
  edited: join(ROOT, 'policies/invoices-edited/bundle'),
  hostile: join(ROOT, 'test/policies/hostile'),
} as const

export interface Ground extends Disposable {
  readonly directory: string
  readonly jwksFile: string
  readonly policy: PolicyFolder
  publish(keys: readonly SigningKey[]): void
  // Tokens of tokens.ts, keys from `jwksFile`; `over` replaces whole members, and of the limits single ones.
  config(over?: Tree & { readonly limits?: Tree }): Tree
  issuer(over?: Tree): Tree
}

export interface PolicyFolder {
  // The link that the configuration names.
  readonly path: string
  // One rename, as with a mounted ConfigMap. No signal is sent.
  use(target: string): void
  // A copy of a bundle after `change`; returns where it is.
  copy(source: string, change?: (directory: string) => void): string
}

// A machine that stands still for a while makes no denial, where overload and deadlines are not what a test is about.
const PATIENT: Tree = { eventLoopLagMs: 10_000, deadlineMs: 5_000 }

// `limits` are those of a configuration that says nothing of them.
export function openGround(limits: Tree = PATIENT): Ground {
  const directory = tempDirectory('ground')
  const jwksFile = join(directory, 'jwks.json')
  const policy = openPolicies(directory)
  const publish = (keys: readonly SigningKey[]) => replaceFile(jwksFile, JSON.stringify(jwksOf(keys)))
  const issuer = (over: Tree = {}) => ({
    issuer: ISSUER,
    jwks: { file: jwksFile },
    algorithms: ['RS256', 'ES256'],
    tenant: { claim: 'tenant', allowed: ['acme', 'globex'] },
    ...over,
  })
  publish([signingKey()])
  return {
    directory,
    jwksFile,
    policy,
    publish,
    issuer,
    config: ({ limits: limited = {}, ...over } = {}) => ({
      audience: AUDIENCE,
      issuers: [issuer()],
      policy: { path: policy.path },
      limits: { ...limits, ...limited },
      ...over,
    }),
    [Symbol.dispose]: () => forget(directory),
  }
}

// Tokens of the real provider; `jwks` says where its keys come from.
export function providerConfig(idp: Idp, ground: Ground, jwks: Tree): Tree {
  const issuer = ground.issuer({
    issuer: idp.issuer,
    jwks,
    algorithms: ['RS256'],
    allowInsecureLoopback: true,
  })
  return ground.config({ audience: idp.audience, issuers: [issuer] })
}

function openPolicies(directory: string): PolicyFolder {
  const home = join(directory, 'policies')
  mkdirSync(home)
  const path = join(home, 'current')
  let copies = 0
  const use = (target: string) => {
    symlinkSync(target, `${path}.next`)
    renameSync(`${path}.next`, path)
  }
  use(BUNDLES.invoices)
  return {
    path,
    use,
    copy: (source, change) => {
      const target = join(home, `copy-${++copies}`)
      cpSync(source, target, { recursive: true })
      change?.(target)
      return target
    },
  }
}

export function revisionOf(bundle: string): string {
  const manifest: unknown = JSON.parse(readFileSync(join(bundle, '.manifest'), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'revision' in manifest)
    return String(manifest.revision)
  throw new Error(`${bundle} names no revision`)
}

// Never seen half written.
export function replaceFile(path: string, content: string | Buffer): void {
  writeFileSync(`${path}.next`, content)
  renameSync(`${path}.next`, path)
}

// One bit, as by a broken disk.
export function flipBit(file: string): void {
  const bytes = readFileSync(file)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

export const HOSTILE_NAMES = readdirSync(BUNDLES.hostile)
