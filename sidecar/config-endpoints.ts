import {
  ClientAuthentication,
  type Endpoint,
  type Exchange,
  type Introspection,
} from '../contracts/gen/portcullis/feed/v1/feed.ts'
import { parseTime } from '../contracts/time.ts'
import {
  complain,
  type Fields,
  fromBase,
  join,
  type Reader,
  readChoice,
  readFlag,
  readInteger,
  readObject,
  readText,
  readWords,
} from './config-reader.ts'
import { type ClientFiles, ENDPOINT_LIMITS, type IssuerTerms, SNAPSHOT_LIMITS } from './settings.ts'

/** Members of an issuer that are read here. */
export const TERMS_MEMBERS = [
  'legacyTypUntil',
  'firstPartyClients',
  'introspection',
  'exchange',
  'client',
] as const

const CLIENT = new RegExp(`^[\\x20-\\x7e]{1,${SNAPSHOT_LIMITS.text}}$`)

/** What is believed of an issuer beyond its keys and tenants. */
export function readTerms(reader: Reader, fields: Fields, path: string): IssuerTerms {
  const at = (name: (typeof TERMS_MEMBERS)[number]) => join(path, name)
  return {
    legacyTypUntilMs: readMoment(reader, fields['legacyTypUntil'], at('legacyTypUntil')),
    firstPartyClients: [
      ...readWords(reader, fields['firstPartyClients'], at('firstPartyClients'), {
        what: 'values of client_id',
        most: SNAPSHOT_LIMITS.clients,
        form: CLIENT,
      }),
    ],
    introspection: readIntrospection(reader, fields['introspection'], at('introspection')),
    exchange: readExchange(reader, fields['exchange'], at('exchange')),
    client: readFlag(reader, fields['client'], at('client'), false),
  }
}

/** By which files the workload says who it is, for issuers that want to know. */
export function readClient(
  reader: Reader,
  value: unknown,
  { base, issuers }: { readonly base: string; readonly issuers: readonly { readonly terms: IssuerTerms }[] },
): ClientFiles | undefined {
  if (value === undefined) {
    if (issuers.some(({ terms }) => terms.introspection ?? terms.exchange))
      complain(reader, 'client', 'required by "introspection" and "exchange": certificate and key, PEM files')
    return undefined
  }
  const fields = readObject(reader, value, 'client', ['certificate', 'key'])
  const certificate = readText(reader, fields['certificate'], 'client.certificate', 'a PEM file')
  const key = readText(reader, fields['key'], 'client.key', 'a PEM file')
  return certificate && key
    ? { certificate: fromBase(certificate, base), key: fromBase(key, base) }
    : undefined
}

function readMoment(reader: Reader, value: unknown, path: string): number {
  if (value === undefined) return 0
  const at = parseTime(value)
  if (at !== undefined && at > 0) return at
  complain(
    reader,
    path,
    'must be a date and time with zone, such as 2030-01-31T12:00:00Z: until when tokens may be typed JWT',
  )
  return 0
}

const ENDPOINT_MEMBERS = [
  'endpoint',
  'authentication',
  'clientId',
  'timeoutMs',
  'ca',
  'allowInsecureLoopback',
  'allowPrivateAddresses',
]

function readIntrospection(reader: Reader, value: unknown, path: string): Introspection | undefined {
  if (value === undefined) return undefined
  const fields = readObject(reader, value, path, [...ENDPOINT_MEMBERS, 'opaque', 'cacheSeconds'])
  const most = ENDPOINT_LIMITS.cacheMs / 1000
  const cacheS = readInteger(reader, fields['cacheSeconds'], join(path, 'cacheSeconds'), {
    from: 0,
    to: most,
    fallback: 10,
  })
  const opaque = readChoice(reader, fields['opaque'], join(path, 'opaque'), {
    words: { Accepted: true, Refused: false },
    fallback: true,
  })
  const endpoint = readEndpoint(reader, fields, path)
  return endpoint && { endpoint, opaque, cacheMs: cacheS * 1000 }
}

function readExchange(reader: Reader, value: unknown, path: string): Exchange | undefined {
  if (value === undefined) return undefined
  const endpoint = readEndpoint(reader, readObject(reader, value, path, ENDPOINT_MEMBERS), path)
  return endpoint && { endpoint }
}

function readEndpoint(reader: Reader, fields: Fields, path: string): Endpoint | undefined {
  const at = (name: string) => join(path, name)
  const insecureLoopback = readFlag(
    reader,
    fields['allowInsecureLoopback'],
    at('allowInsecureLoopback'),
    false,
  )
  const url = readEndpointUrl(reader, fields['endpoint'], at('endpoint'), insecureLoopback)
  const clientId = readClientId(reader, fields['clientId'], at('clientId'))
  const [from, to] = ENDPOINT_LIMITS.timeoutMs
  const timeoutMs = readInteger(reader, fields['timeoutMs'], at('timeoutMs'), { from, to, fallback: 1_000 })
  const endpoint = {
    authentication: readChoice<ClientAuthentication>(reader, fields['authentication'], at('authentication'), {
      words: {
        MTLS: ClientAuthentication.CLIENT_AUTHENTICATION_MTLS,
        PrivateKeyJWT: ClientAuthentication.CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT,
      },
      fallback: ClientAuthentication.CLIENT_AUTHENTICATION_MTLS,
    }),
    ca: readCa(reader, fields['ca'], at('ca')),
    privateAddresses: readFlag(reader, fields['allowPrivateAddresses'], at('allowPrivateAddresses'), false),
    ...{ clientId, timeoutMs, insecureLoopback },
  }
  return url === undefined ? undefined : { url, ...endpoint }
}

function readEndpointUrl(
  reader: Reader,
  value: unknown,
  path: string,
  insecureLoopback: boolean,
): string | undefined {
  const text = readText(reader, value, path, 'a URL such as https://idp.example/introspect')
  if (text === undefined) return undefined
  if (!URL.canParse(text))
    return complain(reader, path, 'must be a URL, such as https://idp.example/introspect')
  const { username, password, protocol } = new URL(text)
  if (username || password || text.includes('#'))
    return complain(reader, path, 'must not hold a user, password or fragment; take them out')
  if (protocol === 'https:' || (protocol === 'http:' && insecureLoopback)) return text
  return complain(
    reader,
    path,
    'must use https; plain http is for loopback only, with allowInsecureLoopback: true',
  )
}

function readClientId(reader: Reader, value: unknown, path: string): string {
  if (value === undefined) return ''
  return readText(reader, value, path, 'the client_id there; left out it is the SPIFFE ID') ?? ''
}

function readCa(reader: Reader, value: unknown, path: string): string {
  if (value === undefined) return ''
  const pem = typeof value === 'string' ? value : ''
  if (pem.includes('PRIVATE KEY-----'))
    complain(reader, path, 'holds a private key: take it out, and replace that key')
  else if (!pem.includes('-----BEGIN CERTIFICATE-----') || Buffer.byteLength(pem) > ENDPOINT_LIMITS.caBytes)
    complain(reader, path, `must be certificates in PEM, at most ${ENDPOINT_LIMITS.caBytes} bytes`)
  else return pem
  return ''
}
