import { readFileSync, writeFileSync } from 'node:fs'
import type { KeyPair } from './pki.ts'

export interface Access {
  readonly server: string
  readonly caFile: string
  /** A client certificate, or a bearer token. */
  readonly as: KeyPair | { readonly token: string }
}

/** Everything is inside the file, as JSON (which is YAML), so it can be copied and outlive its certificates. */
export function writeKubeconfig(path: string, { server, caFile, as }: Access): string {
  const user =
    'token' in as
      ? { token: as.token }
      : { 'client-certificate-data': base64(as.cert), 'client-key-data': base64(as.key) }
  const tree = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(caFile) } }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  }
  writeFileSync(path, `${JSON.stringify(tree, undefined, 2)}\n`, { mode: 0o600 })
  return path
}

function base64(path: string): string {
  return readFileSync(path).toString('base64')
}
