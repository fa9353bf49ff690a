import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { jwksOf, signingKey } from '../fixtures/keys.ts'
import { forget, tempDirectory } from '../fixtures/process.ts'
import { ROOT } from '../fixtures/sidecar.ts'
import { AUDIENCE, ISSUER } from '../fixtures/tokens.ts'
import { type Built, run } from './build.ts'
import { type Command, type Place, writeJson } from './host.ts'
import { TENANTS } from './workload.ts'

// The commands that are compared, each given the same keys, issuer, audience and rules.

/** What the image runs with. */
export const SIDECAR_FLAGS: readonly string[] = shippedFlags()

/** `more`: members of its configuration beyond these. */
export function sidecar(
  built: Built,
  flags: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
) {
  return ({ directory, socket }: Place): Command => {
    const config = join(directory, 'portcullis.yaml')
    writeFileSync(
      config,
      stringify({
        version: 1,
        listen: { unix: socket },
        admin: { listen: '127.0.0.1:0' },
        audience: AUDIENCE,
        issuers: [
          {
            issuer: ISSUER,
            jwks: { file: jwksFile(directory) },
            algorithms: ['RS256'],
            tenant: { claim: 'tenant', allowed: [...TENANTS] },
          },
        ],
        policy: { path: join(ROOT, 'policies/invoices/bundle') },
        log: { decisions: true },
        ...more,
      }),
    )
    return node([...flags, built.sidecar, '--config', config])
  }
}

export function josePlusWasm(built: Built) {
  return ({ directory, socket }: Place): Command => {
    const [floor, application] = [join(ROOT, 'policies/bundle'), join(ROOT, 'policies/invoices/bundle')]
    const policies = ['--floor', floor, '--application', application]
    const trust = ['--jwks', jwksFile(directory), '--issuer', ISSUER, '--audience', AUDIENCE]
    return node([built.server('jose'), '--socket', socket, ...trust, ...policies])
  }
}

export function echo(built: Built, answerBytes: number) {
  return ({ socket }: Place): Command =>
    node([built.server('echo'), '--socket', socket, '--bytes', String(answerBytes)])
}

/** The official server; its cache of verified tokens is off by default. */
export function opa(binary: string, cachedTokens: number) {
  return ({ directory, socket }: Place): Command => {
    const trust = {
      jwks: JSON.stringify(jwksOf([signingKey('RS256')])),
      issuer: ISSUER,
      audience: AUDIENCE,
      tenants: TENANTS,
    }
    const settings: unknown = JSON.parse(readFileSync(join(ROOT, 'policies/invoices/data.json'), 'utf8'))
    const data = writeJson(join(directory, 'data.json'), { trust, ...Object(settings) })
    const cache = `caching.inter_query_builtin_value_cache.named.io_jwt.max_num_entries=${cachedTokens}`
    const quiet = ['--log-level', 'error', '--skip-version-check']
    const args = [
      'run',
      '--server',
      '--addr',
      `unix://${socket}`,
      ...quiet,
      ...(cachedTokens > 0 ? ['--set', cache] : []),
    ]
    return { program: binary, args: [...args, join(import.meta.dirname, 'servers/opa.rego'), data] }
  }
}

export interface SignatureFloor {
  readonly count: number
  readonly genuine: number
  readonly micros: number
}

/** Verifies for so long in a process of its own on the given core. */
export function verifySignatures(
  built: Built,
  core: number,
  tokens: readonly string[],
  forMs: number,
): SignatureFloor {
  const directory = tempDirectory('bench')
  const jwk = writeJson(join(directory, 'jwk.json'), signingKey('RS256').jwk)
  const file = join(directory, 'tokens')
  writeFileSync(file, tokens.join('\n'))
  const inputs = ['--jwk', jwk, '--tokens', file, '--ms', String(forMs)]
  const command = ['-c', String(core), process.execPath, built.server('signature'), ...inputs]
  const printed = run('taskset', ...command)
  forget(directory)
  return JSON.parse(printed) as SignatureFloor
}

function jwksFile(directory: string): string {
  return writeJson(join(directory, 'jwks.json'), jwksOf([signingKey('RS256')]))
}

function node(args: readonly string[]): Command {
  return { program: process.execPath, args }
}

// As `npm start` has them, so that what is measured is what is shipped.
function shippedFlags(): readonly string[] {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const { start } = (manifest as { readonly scripts: { readonly start: string } }).scripts
  return start.split(' ').filter((word) => word.startsWith('--'))
}
