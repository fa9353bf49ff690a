import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CA_EXTENSIONS, leafExtensions, type Made, make } from '../contracts/spiffe-openssl.ts'
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
  const { certificate, key } = pairIn(directory, name)
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

export function pairIn(directory: string, name: string): Pick<Pair, 'certificate' | 'key'> {
  return { certificate: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) }
}

/** As SVIDs are issued: by an intermediate, which whoever trusts the root alone is shown with them. */
export interface Authority {
  readonly root: Made
  readonly intermediate: Made
}

export function openAuthority(): Authority {
  const root = make({ subject: '/CN=root', extensions: CA_EXTENSIONS })
  return {
    root,
    intermediate: make({ subject: '/CN=intermediate', extensions: CA_EXTENSIONS, issuer: root }),
  }
}

export function issuePair(directory: string, name: string, uri: string, { intermediate }: Authority): void {
  const svid = make({ extensions: leafExtensions(uri), issuer: intermediate })
  const { certificate, key } = pairIn(directory, name)
  writeFileSync(certificate, svid.pem + intermediate.pem)
  writeFileSync(key, svid.keyPem)
}

export function clientOf({ certificate, key }: Pick<Pair, 'certificate' | 'key'>): Tree {
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
