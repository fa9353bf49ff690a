import { type Denial, deny } from '../decision.ts'
import type { CheckRequest, HeaderLine } from '../request.ts'

/** Untrusted: exactly one credential under exactly one scheme. Made here only. */
export interface Presented {
  readonly scheme: 'bearer' | 'dpop'
  /** The credential after the scheme, bytes as received. */
  readonly token: Buffer
  /** The one line of `DPoP` (RFC 9449 section 4.1), bytes as received. */
  readonly proof: Buffer | undefined
  /** Lines that say which certificate the caller showed to a proxy (RFC 9440; X-Forwarded-Client-Cert). Anybody can write one. */
  readonly certificates: readonly HeaderLine[]
  readonly [presented]: true
}
declare const presented: unique symbol

/**
 * Finds the credential (RFC 6750 section 2.1). More than one `Authorization` line, more than one credential in a line, a
 * token in the URL (RFC 6750 section 2.3, forbidden by RFC 9700 section 4.3.2) or any unusual spelling is refused, because a
 * proxy, the application and we might each pick a different one.
 */
export function present(request: CheckRequest): Presented | Denial {
  if (carriesTokenInQuery(request.url)) return deny('token_in_query')

  let line: Uint8Array | undefined
  let proof: Uint8Array | undefined
  let proofs = 0
  for (const { name, value } of request.headers) {
    if (name === 'authorization') {
      if (line) return deny('auth_multiple')
      line = value
    } else if (name === 'dpop') {
      // A proof has no comma; a line with one is two lines that somebody joined (RFC 9110 section 5.3).
      proofs += value.includes(COMMA) ? 2 : 1
      proof = value
    } else if (imitatesAuthorization(name)) {
      return deny('auth_malformed')
    }
  }
  if (proofs > 1) return deny('dpop_multiple')
  if (!line) return deny('token_missing')
  const credential = split(bufferOver(line))
  if ('kind' in credential) return credential
  const certificates: readonly HeaderLine[] = request.headers.filter(({ name }) =>
    CERTIFICATE_HEADERS.has(name),
  )
  return { ...credential, proof: proof && bufferOver(proof), certificates } as Presented
}

const CERTIFICATE_HEADERS: ReadonlySet<string> = new Set(['x-forwarded-client-cert', 'client-cert'])

function bufferOver({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

const COMMA = 0x2c
const SPACE = 0x20
const TAB = 0x09

function split(line: Buffer): Pick<Presented, 'scheme' | 'token'> | Denial {
  const space = line.indexOf(SPACE)
  const scheme = line.toString('latin1', 0, space < 0 ? line.length : space).toLowerCase()
  if (line.length === 0 || scheme === '' || scheme.includes('\t')) return deny('auth_malformed')
  if (scheme !== 'bearer' && scheme !== 'dpop') {
    // Another scheme (RFC 9110 section 11.4) presents nothing that we could check.
    return /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(scheme) ? deny('token_missing') : deny('auth_malformed')
  }
  const token = line.subarray(space + 1)
  const [first] = token
  if (space < 0 || first === undefined || first === SPACE || first === TAB) return deny('auth_malformed')
  if (token.includes(SPACE) && /^(?:bearer|dpop) /i.test(token.toString('latin1')))
    return deny('auth_malformed')
  if (token.includes(COMMA) && /,\s*[a-z]+\s/i.test(token.toString('latin1'))) return deny('auth_multiple')
  return { scheme, token }
}

// Names that some component folds into `Authorization`: underscores (CGI), surrounding blanks, folded or embedded controls.
function imitatesAuthorization(name: string): boolean {
  return name.length > 12 && name.replace(/[^a-z]/g, '') === 'authorization'
}

function carriesTokenInQuery(url: string): boolean {
  const start = url.search(/[?#]/)
  if (start < 0) return false
  const text = url.slice(start + 1)
  if (!/token|%/i.test(text)) return false
  return text.split(/[?&;#]/).some((pair) => nameOf(pair).toLowerCase() === 'access_token')
}

function nameOf(pair: string): string {
  const [name = ''] = pair.split('=', 1)
  const text = name.replaceAll('+', ' ')
  try {
    return decodeURIComponent(text).trim()
  } catch {
    return text
  }
}
