import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

// Certificates of a test cluster, made by openssl: what the product makes and checks is proven against other hands.

const run = promisify(execFile)
// Without a configuration of our own openssl would add the extensions of the machine's.
const CONFIG = '[req]\ndistinguished_name = dn\nprompt = no\n[dn]\n'
const DAYS = '3'

export interface Authority {
  readonly cert: string
  readonly key: string
}

export interface Leaf {
  readonly commonName: string
  readonly organizations?: readonly string[]
  readonly usage: 'clientAuth' | 'serverAuth'
  /** As openssl writes them: `DNS:localhost`, `IP:127.0.0.1`. */
  readonly names?: readonly string[]
}

export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** A directory with one or more authorities and what they signed; every path handed out is absolute. */
export interface Pki {
  readonly directory: string
  authority(name: string): Promise<Authority>
  sign(name: string, leaf: Leaf, by: Authority): Promise<KeyPair>
  /** RSA, so that service account tokens are RS256. */
  serviceAccountKeys(): Promise<{ readonly privateKey: string; readonly publicKey: string }>
}

export function createPki(directory: string): Pki {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const config = join(directory, 'openssl.cnf')
  if (!existsSync(config)) writeFileSync(config, CONFIG)
  const path = (name: string) => join(directory, name)
  const pair = (name: string): KeyPair => ({ cert: path(`${name}.crt`), key: path(`${name}.key`) })
  return {
    directory,
    authority: async (name) => {
      const made = pair(name)
      await request({ config, made, subject: `/CN=${escaped(name)}`, more: AUTHORITY })
      return made
    },
    sign: async (name, leaf, by) => {
      const made = pair(name)
      const more = ['-CA', by.cert, '-CAkey', by.key, ...leafExtensions(leaf)]
      await request({ config, made, subject: subjectOf(leaf), more })
      return made
    },
    serviceAccountKeys: async () => {
      const [privateKey, publicKey] = [path('sa.key'), path('sa.pub')]
      await run('openssl', ['genrsa', '-out', privateKey, '2048'])
      await run('openssl', ['rsa', '-in', privateKey, '-pubout', '-out', publicKey])
      return { privateKey, publicKey }
    },
  }
}

const AUTHORITY = [
  ...['-addext', 'basicConstraints=critical,CA:TRUE'],
  ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'],
  ...['-addext', 'subjectKeyIdentifier=hash'],
]

function leafExtensions({ usage, names = [] }: Leaf): readonly string[] {
  return [
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-addext', 'keyUsage=critical,digitalSignature'],
    ...['-addext', `extendedKeyUsage=${usage}`],
    ...(names.length > 0 ? ['-addext', `subjectAltName=${names.join(',')}`] : []),
  ]
}

interface Order {
  readonly config: string
  readonly made: KeyPair
  readonly subject: string
  readonly more: readonly string[]
}

async function request({ config, made, subject, more }: Order): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc', '-keyout', made.key]
  const cert = ['-x509', '-days', DAYS, '-subj', subject, '-out', made.cert, ...more]
  await run('openssl', ['req', '-config', config, ...key, ...cert])
}

function subjectOf({ commonName, organizations = [] }: Leaf): string {
  return [...organizations.map((one) => `/O=${escaped(one)}`), `/CN=${escaped(commonName)}`].join('')
}

// In -subj a slash starts the next attribute and a plus a further value of the same one.
function escaped(value: string): string {
  return value.replace(/[\\/+]/g, (character) => `\\${character}`)
}
