import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Tree } from '../fixtures/sidecar.ts'
import type { Ground } from './ground.ts'

// What a sidecar needs to ask an authorization server as somebody: a certificate and a key, made anew.

export interface Pair {
  readonly certificate: string
  readonly key: string
  readonly pem: string
}

export const WORKLOAD = 'spiffe://test.example/ns/shop/sa/invoices'

/** A self-signed certificate with these names (`DNS:…`, `IP:…`, `URI:…`). */
export function makePair(directory: string, name: string, names: string): Pair {
  const [certificate, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)]
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const what = [
    '-subj',
    `/CN=${name}`,
    '-addext',
    `subjectAltName=${names}`,
    '-keyout',
    key,
    '-out',
    certificate,
  ]
  execFileSync('openssl', ['req', '-x509', ...made, ...what], { stdio: 'ignore' })
  return { certificate, key, pem: readFileSync(certificate, 'utf8') }
}

export function clientOf({ certificate, key }: Pair): Tree {
  return { certificate, key }
}

/** Invoices are read by whoever has a token; before they are deleted its issuer is asked. */
export const SENSITIVE: readonly Tree[] = [
  { actions: ['invoice:delete'], requirements: { introspect: 'Always' } },
]

export function introspectionTree(endpoint: string, over: Tree = {}): Tree {
  return {
    endpoint,
    authentication: 'PrivateKeyJWT',
    timeoutMs: 300,
    allowInsecureLoopback: true,
    cacheSeconds: 30,
    ...over,
  }
}

export function askingConfig(ground: Ground, pair: Pair, introspection: Tree, over: Tree = {}): Tree {
  return ground.config({
    issuers: [ground.issuer({ introspection })],
    client: clientOf(pair),
    routes: SENSITIVE,
    ...over,
  })
}
