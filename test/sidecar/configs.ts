import { stringify } from 'yaml'
import { type Config, type ConfigResult, parseConfig } from '../../sidecar/config.ts'

// A configuration in few words.

export type Tree = Readonly<Record<string, unknown>>

export const ISSUER: Tree = {
  issuer: 'https://idp.example',
  jwks: { uri: 'https://idp.example/jwks' },
  algorithms: ['RS256'],
  tenant: { fixed: 'acme' },
}
export const GOOD: Tree = {
  version: 1,
  listen: { unix: 'run/check.sock' },
  audience: 'https://api.example',
  issuers: [ISSUER],
  client: { certificate: 'client.pem', key: 'client.key' },
  policy: { path: 'bundle' },
}

export const parse = (tree: unknown, env: Readonly<Record<string, string>> = {}): ConfigResult =>
  parseConfig(stringify(tree, { aliasDuplicateObjects: false }), env, '/base')
export const problemsOf = (result: ConfigResult) => (result.ok ? [] : result.problems)

export function configOf(change: Tree = {}, env: Readonly<Record<string, string>> = {}): Config {
  const result = parse({ ...GOOD, ...change }, env)
  if (!result.ok) throw new Error(result.problems.join('\n'))
  return result.config
}
