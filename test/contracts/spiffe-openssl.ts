import { execFileSync } from 'node:child_process'
import { type KeyObject, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Certificates made by openssl itself, so that our verifier is not tried with our own writer only. */
export interface Made {
  readonly der: Buffer
  readonly pem: string
  readonly keyPem: string
}
export interface Wanted {
  readonly subject?: string
  /** Lines of an openssl extension section. */
  readonly extensions: readonly string[]
  readonly issuer?: Made
  readonly days?: number
  readonly key?: readonly string[]
  readonly digest?: string
}

export const CA_EXTENSIONS = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign']
export const leafExtensions = (uri: string): readonly string[] => [
  `subjectAltName=critical,URI:${uri}`,
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=serverAuth,clientAuth',
]

export function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
}

export function inTemporary<T>(use: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-openssl-'))
  try {
    return use(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

export function make({ subject = '/', extensions, issuer, days = 30, key, digest = 'sha256' }: Wanted): Made {
  return inTemporary((directory) => {
    const at = (name: string) => join(directory, name)
    const [algorithm, option] = key ?? ['EC', 'ec_paramgen_curve:P-256']
    const options = option ? ['-pkeyopt', option] : []
    openssl('genpkey', '-algorithm', algorithm ?? 'EC', ...options, '-out', at('key'))
    openssl('req', '-new', '-key', at('key'), '-subj', subject, '-out', at('csr'), `-${digest}`)
    writeFileSync(at('ext'), extensions.join('\n'))
    if (issuer) {
      writeFileSync(at('ca'), issuer.pem)
      writeFileSync(at('cakey'), issuer.keyPem)
    }
    const signer = issuer ? ['-CA', at('ca'), '-CAkey', at('cakey')] : ['-signkey', at('key')]
    const rest = ['-days', `${days}`, `-${digest}`, '-set_serial', `0x${serial()}`, '-extfile', at('ext')]
    openssl('x509', '-req', '-in', at('csr'), ...signer, ...rest, '-out', at('cert'))
    const pem = readFileSync(at('cert'), 'utf8')
    return { pem, der: new X509Certificate(pem).raw, keyPem: readFileSync(at('key'), 'utf8') }
  })
}

let serials = 0x1000
const serial = (): string => {
  serials += 1
  return serials.toString(16)
}

export function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
