import { ALGORITHMS, type Algorithm, algorithmNamed } from '../contracts/jwks.ts'
import { readTerms, TERMS_MEMBERS } from './config-endpoints.ts'
import {
  complain,
  fromBase,
  join,
  type Reader,
  readFlag,
  readInteger,
  readList,
  readObject,
  readText,
} from './config-reader.ts'
import { type JwksLocation, SNAPSHOT_LIMITS, type StandaloneIssuer, type TenantBinding } from './settings.ts'

/** What an entry needs to know of the rest of the file. */
export interface Surroundings {
  /** Milliseconds between scheduled fetches of a key set. */
  readonly refreshMs: number
  /** Folder at which relative paths start. */
  readonly base: string
}

const ISSUER_MEMBERS = [
  'issuer',
  'jwks',
  'algorithms',
  'skewSeconds',
  'tenant',
  'allowInsecureLoopback',
  'allowPrivateAddresses',
  ...TERMS_MEMBERS,
]

export function readIssuers(
  reader: Reader,
  value: unknown,
  around: Surroundings,
): readonly StandaloneIssuer[] {
  const issuers = readList(reader, value, 'issuers', {
    what: 'token issuers',
    most: SNAPSHOT_LIMITS.issuers,
  }).flatMap((item, index) => {
    const issuer = readIssuer(reader, item, `issuers[${index}]`, around)
    return issuer ? [issuer] : []
  })
  const names = issuers.map(({ issuer }) => issuer)
  names.forEach((name, index) => {
    if (names.indexOf(name) !== index)
      complain(reader, `issuers[${index}].issuer`, 'given twice; merge the two entries')
  })
  return issuers
}

function readIssuer(
  reader: Reader,
  item: unknown,
  path: string,
  { refreshMs, base }: Surroundings,
): StandaloneIssuer | undefined {
  const fields = readObject(reader, item, path, ISSUER_MEMBERS)
  const issuer = readText(reader, fields['issuer'], join(path, 'issuer'), 'the exact "iss" of its tokens')
  const insecureLoopback = readFlag(
    reader,
    fields['allowInsecureLoopback'],
    join(path, 'allowInsecureLoopback'),
    false,
  )
  const algorithms = readAlgorithms(reader, fields['algorithms'], join(path, 'algorithms'))
  const location = readJwks(reader, fields['jwks'], join(path, 'jwks'), { issuer: issuer ?? '', base })
  const tenant = readTenant(reader, fields['tenant'], join(path, 'tenant'))
  const skewS = readInteger(reader, fields['skewSeconds'], join(path, 'skewSeconds'), {
    from: 0,
    to: 300,
    fallback: 60,
  })
  const privateAddresses = readFlag(
    reader,
    fields['allowPrivateAddresses'],
    join(path, 'allowPrivateAddresses'),
    false,
  )
  const terms = readTerms(reader, fields, path)
  if (location && location.kind !== 'file')
    requireTls(reader, location.uri, insecureLoopback, join(path, 'jwks'))
  if (!issuer || !location || !tenant) return undefined
  return {
    issuer,
    algorithms,
    location,
    insecureLoopback,
    privateAddresses,
    refreshMs,
    skewS,
    tenant,
    terms,
  }
}

function readAlgorithms(reader: Reader, value: unknown, path: string): ReadonlySet<Algorithm> {
  const known = Object.keys(ALGORITHMS).join(', ')
  const algorithms = new Set<Algorithm>()
  for (const name of readList(reader, value, path, { what: `of ${known}`, most: 16 })) {
    const algorithm = typeof name === 'string' ? algorithmNamed(name) : undefined
    if (algorithm) algorithms.add(algorithm)
    else complain(reader, path, `unknown or forbidden algorithm; known: ${known} (no HMAC, no "none")`)
  }
  return algorithms
}

function readJwks(
  reader: Reader,
  value: unknown,
  path: string,
  { issuer, base }: { readonly issuer: string; readonly base: string },
): JwksLocation | undefined {
  const fields = readObject(reader, value, path, ['file', 'uri', 'discovery'])
  const given = Object.keys(fields)
  if (given.length !== 1)
    return complain(reader, path, 'required: exactly one of "file", "uri", "discovery: true"')
  if (fields['discovery'] === true) {
    return { kind: 'discovery', uri: `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration` }
  }
  const [kind = ''] = given
  const text = readText(reader, fields[kind], join(path, kind), kind === 'file' ? 'a path' : 'a URL')
  if (!text) return undefined
  if (kind === 'file') return { kind, path: fromBase(text, base) }
  if (!URL.canParse(text)) {
    return complain(reader, join(path, kind), 'must be a URL, such as https://idp.example/jwks')
  }
  const { username, password } = new URL(text)
  if (username || password) {
    return complain(
      reader,
      join(path, kind),
      'must not hold a user or password: key sets are public; take them out',
    )
  }
  return kind === 'uri' ? { kind, uri: text } : { kind: 'discovery', uri: text }
}

function requireTls(reader: Reader, uri: string, insecureLoopback: boolean, path: string): void {
  if (!URL.canParse(uri)) {
    complain(reader, path, 'the issuer is not a URL, so its keys cannot be discovered; use "uri" or "file"')
  } else if (!(insecureLoopback ? ['https:', 'http:'] : ['https:']).includes(new URL(uri).protocol)) {
    complain(
      reader,
      path,
      'must use https; plain http is for loopback only, with allowInsecureLoopback: true',
    )
  }
}

function readTenant(reader: Reader, value: unknown, path: string): TenantBinding | undefined {
  const fields = readObject(reader, value, path, ['fixed', 'claim', 'allowed'])
  const isFixed = 'fixed' in fields
  if (isFixed === 'claim' in fields || (isFixed && 'allowed' in fields)) {
    return complain(reader, path, 'required: either "fixed: NAME", or "claim: NAME" with "allowed: [NAMES]"')
  }
  if (isFixed) {
    const fixedTenant = readText(reader, fields['fixed'], join(path, 'fixed'), 'a tenant')
    return fixedTenant ? { $case: 'fixedTenant', fixedTenant } : undefined
  }
  const claim = readText(reader, fields['claim'], join(path, 'claim'), 'the name of a claim')
  const allowed = readList(reader, fields['allowed'], join(path, 'allowed'), {
    what: 'tenants this issuer may speak for',
    most: SNAPSHOT_LIMITS.tenants,
  })
  const names = allowed.filter((name) => typeof name === 'string' && name !== '')
  if (names.length !== allowed.length) complain(reader, join(path, 'allowed'), 'each tenant must be text')
  return claim ? { $case: 'tenantClaim', tenantClaim: { claim, allowed: names as string[] } } : undefined
}
