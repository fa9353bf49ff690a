import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Credential {
  /** PEM, leaf first. */
  readonly chain: string
  readonly key: string
}

/** A certificate that claims a SPIFFE ID: signed by itself, or by an SVID as if that were an authority. Made by openssl, as anyone could. */
export function forgeSvid(id: string, by?: Credential): Credential {
  const place = mkdtempSync(join(tmpdir(), 'portcullis-forge-'))
  const file = (name: string) => join(place, name)
  try {
    const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('key.pem'))
    const request = [
      'req',
      '-new',
      '-key',
      file('key.pem'),
      '-subj',
      '/O=forged',
      '-addext',
      `subjectAltName=URI:${id}`,
    ]
    const leaf = [
      '-addext',
      'basicConstraints=critical,CA:FALSE',
      '-addext',
      'keyUsage=critical,digitalSignature',
    ]
    if (!by) openssl(...request, ...leaf, '-x509', '-days', '1', '-out', file('leaf.pem'))
    else {
      writeFileSync(file('by.pem'), by.chain)
      writeFileSync(file('by.key'), by.key, { mode: 0o600 })
      openssl(...request, ...leaf, '-out', file('request.pem'))
      openssl(
        ...['x509', '-req', '-in', file('request.pem'), '-CA', file('by.pem'), '-CAkey', file('by.key')],
        ...['-set_serial', '4711', '-days', '1', '-copy_extensions', 'copyall', '-out', file('leaf.pem')],
      )
    }
    return {
      chain: readFileSync(file('leaf.pem'), 'utf8') + (by?.chain ?? ''),
      key: readFileSync(file('key.pem'), 'utf8'),
    }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}
