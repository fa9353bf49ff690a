import { domainToASCII } from 'node:url'
import type { Edge } from '../trust/token-rules.ts'

/**
 * URLs as RFC 9449 section 4.3 compares them: without query and fragment, after the syntax- and scheme-based normalisation of RFC 3986
 * sections 6.2.2 and 6.2.3. Our own few lines: a parser for browsers repairs what it reads (backslashes, blanks, missing slashes,
 * odd numbers as addresses), and what it has repaired is not what was signed.
 */

/** The canonical form of an absolute http(s) URL; `undefined` for anything that RFC 3986 and RFC 9110 section 4.2 do not call one. */
export function normalUrl(text: string): string | undefined {
  const [, scheme = '', authority = '', path = '', query = '', fragment = ''] = URL_PARTS.exec(text) ?? []
  if (scheme === '' || !PATH.test(path) || !TAIL.test(query) || !TAIL.test(fragment)) return undefined
  const lower = scheme.toLowerCase()
  const where = normalAuthority(authority, lower)
  return where === undefined ? undefined : `${lower}://${where}${normalPath(path)}`
}

/**
 * The URL under which the caller reached us, in canonical form: scheme and authority as configured and nothing that a request says
 * about its host; then the prefix that the edge took off, and the path of the request. `undefined`: nothing is configured, the target
 * has no path, or it lies outside the configured base.
 */
export function expectedUrl({ baseUrl, strippedPrefix }: Edge, target: string): string | undefined {
  const path = pathOf(target)
  if (!baseUrl || path === undefined) return undefined
  const whole = normalPath(`${strippedPrefix}${path}`)
  return inside(whole, baseUrl.pathname) ? `${baseUrl.protocol}//${baseUrl.host}${whole}` : undefined
}

// RFC 3986 appendix B for the two schemes that can be meant.
const URL_PARTS = /^(https?):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/is
const PATH = /^(?:\/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*$/
const TAIL = /^[\x21-\x7e]*$/
// RFC 3986 section 3.2 without user information, which RFC 9110 section 4.2.4 calls an error in http URLs.
const AUTHORITY = /^(\[[0-9A-Fa-f:.]+\]|[^[\]:@]+)(?::(\d*))?$/
const REG_NAME = /^(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$/
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' }

function normalAuthority(authority: string, scheme: string): string | undefined {
  const [, host = '', port = ''] = AUTHORITY.exec(authority) ?? []
  const name = host.startsWith('[') ? host.toLowerCase() : normalName(host)
  if (name === undefined || name === '') return undefined
  return port === '' || port === DEFAULT_PORTS[scheme] ? name : `${name}:${port}`
}

function normalName(host: string): string | undefined {
  const ascii = /^[\x21-\x7e]*$/.test(host) ? host : aLabels(host)
  return REG_NAME.test(ascii) ? normalTriplets(ascii).toLowerCase() : undefined
}

// RFC 5891: only what is a U-label already. Anything that would have to be mapped first (full width, capitals) is another spelling.
function aLabels(host: string): string {
  return LETTERS.test(host) && host === host.normalize('NFKC').toLowerCase() ? domainToASCII(host) : ''
}

const LETTERS = /^[\p{L}\p{M}\p{Nd}.-]+$/u

const SIMPLE = /^(?:\/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)+\/?$/

/** RFC 3986 sections 6.2.2.1 to 6.2.2.3 and 6.2.3. No slash is folded or forgiven, no case changed, `%2F` stays. */
function normalPath(path: string): string {
  // Nearly every path: nothing in it to normalise.
  if (SIMPLE.test(path)) return path
  return withoutDots(normalTriplets(path)) || '/'
}

const UNRESERVED = /[A-Za-z0-9._~-]/

function normalTriplets(text: string): string {
  return text.replace(/%([0-9A-Fa-f]{2})/g, (triplet, digits: string) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16))
    return UNRESERVED.test(character) ? character : triplet.toUpperCase()
  })
}

// RFC 3986 section 5.2.4, for a path that is empty or begins with a slash.
function withoutDots(path: string): string {
  const kept: string[] = []
  const segments = path.split('/').slice(1)
  for (const [index, segment] of segments.entries()) {
    const dots = segment === '.' || segment === '..'
    if (segment === '..') kept.pop()
    if (!dots) kept.push(segment)
    else if (index === segments.length - 1) kept.push('')
  }
  return kept.map((segment) => `/${segment}`).join('')
}

// RFC 9112 section 3.2: origin-form, or absolute-form, whose authority is the caller's word and does not count.
function pathOf(target: string): string | undefined {
  const [, path = ''] = (target.startsWith('/') ? ORIGIN_FORM : ABSOLUTE_FORM).exec(target) ?? []
  const whole = path === '' && !target.startsWith('/') && ABSOLUTE_FORM.test(target) ? '/' : path
  return whole !== '' && PATH.test(whole) ? whole : undefined
}
const ORIGIN_FORM = /^(\/[^?#]*)(?:\?[^#]*)?(?:#.*)?$/s
const ABSOLUTE_FORM = /^https?:\/\/[^/?#]+([^?#]*)(?:\?[^#]*)?(?:#.*)?$/is

// By whole segments: `/shop` holds `/shop/x` and not `/shopping`.
function inside(path: string, base: string): boolean {
  const prefix = base.endsWith('/') ? base.slice(0, -1) : base
  return path === prefix || path.startsWith(`${prefix}/`)
}
