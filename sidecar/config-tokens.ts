import {
  CertificateHeader,
  ClientKind,
  type Requirements,
  type Route,
  SenderConstraint,
  Staleness,
  type TokenRules,
} from '../contracts/gen/portcullis/feed/v1/feed.ts'
import {
  complain,
  type Fields,
  join,
  type Reader,
  readChoice,
  readInteger,
  readList,
  readObject,
  readText,
  readWords,
} from './config-reader.ts'
import { ACR_VALUE, EXCHANGE_ACTION, SNAPSHOT_LIMITS, TIER_LIMITS, TOKEN_RULE_LIMITS } from './settings.ts'

// Members and words are those of AccessPolicy, so that what is tried here can be moved there. They become the messages that an
// operator sends.

const TOKENS_MEMBERS = [
  'externalBaseURL',
  'strippedPrefix',
  'trustedHops',
  'certificateHeader',
  'ownId',
  'deniedAudiences',
  'firstPartyScopes',
  'requirements',
]

const TEXT = new RegExp(`^[\\x20-\\x7e]{1,${SNAPSHOT_LIMITS.text}}$`)
const SPIFFE_ID = /^spiffe:\/\/[\x21-\x7e]{1,500}$/
const SCOPE = /^(?:[!\x23-\x29\x2b-\x5b\x5d-\x7e]+\*?|\*)$/
const HEADERS = {
  XFCC: CertificateHeader.CERTIFICATE_HEADER_XFCC,
  ClientCert: CertificateHeader.CERTIFICATE_HEADER_CLIENT_CERT,
} as const

/** What is asked of tokens beyond their audience; nothing where it is not given. */
export function readTokens(reader: Reader, value: unknown): TokenRules | undefined {
  if (value === undefined) return undefined
  const fields = readObject(reader, value, 'tokens', TOKENS_MEMBERS)
  const trustedHops = readWords(reader, fields['trustedHops'], 'tokens.trustedHops', {
    what: 'SPIFFE IDs of proxies, such as spiffe://cluster.example/ns/edge/sa/proxy',
    most: TOKEN_RULE_LIMITS.hops,
    form: SPIFFE_ID,
  })
  const certificateHeader = readChoice<CertificateHeader>(
    reader,
    fields['certificateHeader'],
    'tokens.certificateHeader',
    { words: HEADERS, fallback: CertificateHeader.CERTIFICATE_HEADER_UNSPECIFIED },
  )
  if (fields['certificateHeader'] !== undefined && trustedHops.length === 0)
    complain(
      reader,
      'tokens.certificateHeader',
      'needs trustedHops: from anybody else the header is not believed',
    )
  const deniedAudiences = readWords(reader, fields['deniedAudiences'], 'tokens.deniedAudiences', {
    what: `audiences of at most ${SNAPSHOT_LIMITS.text} characters`,
    most: TOKEN_RULE_LIMITS.deniedAudiences,
    form: TEXT,
  })
  const firstPartyScopes = readWords(reader, fields['firstPartyScopes'], 'tokens.firstPartyScopes', {
    what: 'scopes: exact, or a prefix with one "*" at its end, such as admin:*',
    most: TOKEN_RULE_LIMITS.firstPartyScopes,
    form: SCOPE,
  })
  return {
    externalBaseUrl: readBaseUrl(reader, fields['externalBaseURL']),
    strippedPrefix: readPrefix(reader, fields['strippedPrefix']),
    trustedHops: [...trustedHops],
    certificateHeader,
    ownId: readOwnId(reader, fields['ownId']),
    deniedAudiences: [...deniedAudiences],
    firstPartyScopes: [...firstPartyScopes],
    requirements: readRequirements(reader, fields['requirements'], 'tokens.requirements'),
  }
}

function readBaseUrl(reader: Reader, value: unknown): string {
  if (value === undefined) return ''
  const path = 'tokens.externalBaseURL'
  const text = readText(reader, value, path, 'the URL under which callers find this workload')
  if (text === undefined) return ''
  const url = URL.canParse(text) ? new URL(text) : undefined
  const plain = url && !url.username && !url.password && !/[?#]/.test(text)
  if (plain && /^https?:$/.test(url.protocol)) return text
  complain(reader, path, 'must be a URL without user, query or fragment, such as https://api.example/billing')
  return ''
}

function readPrefix(reader: Reader, value: unknown): string {
  if (value === undefined) return ''
  const text = readText(reader, value, 'tokens.strippedPrefix', 'a path such as /billing') ?? ''
  if (text === '' || /^(?:\/[A-Za-z0-9._~%-]+)+$/.test(text)) return text
  complain(reader, 'tokens.strippedPrefix', 'must be a path such as /billing, without a slash at its end')
  return ''
}

function readOwnId(reader: Reader, value: unknown): string {
  if (value === undefined) return ''
  if (typeof value === 'string' && SPIFFE_ID.test(value)) return value
  complain(reader, 'tokens.ownId', 'must be the SPIFFE ID under which trusted hops know this workload')
  return ''
}

const ACTION = /^(?:[!-)+-~]+\*?|\*)$/

/** Actions whose tokens must bring something else than those of the rest. Staleness needs an operator, so it has no member here. */
export function readRoutes(reader: Reader, value: unknown): Route[] {
  if (value === undefined) return []
  const taken = new Map<string, string>()
  return readList(reader, value, 'routes', { what: 'routes', most: TIER_LIMITS.routes }).map(
    (item, index) => {
      const path = `routes[${index}]`
      const fields = readObject(reader, item, path, ['actions', 'requirements'])
      const actions = readActions(reader, fields, path)
      for (const action of actions) {
        const before = taken.get(action)
        if (before) complain(reader, join(path, 'actions'), `${action} is also in ${before}; keep one`)
        else taken.set(action, path)
      }
      if (fields['requirements'] === undefined)
        complain(reader, join(path, 'requirements'), 'required: what tokens must bring for these actions')
      const requirements = readRequirements(reader, fields['requirements'], join(path, 'requirements'))
      if (requirements?.sharedReplay && actions.includes(EXCHANGE_ACTION))
        complain(
          reader,
          join(path, 'requirements.sharedReplay'),
          `no proof comes with a token that is exchanged; leave it out where ${EXCHANGE_ACTION} is named`,
        )
      return { actions: [...actions], staleness: Staleness.STALENESS_STANDARD, requirements }
    },
  )
}

function readActions(reader: Reader, fields: Fields, route: string): readonly string[] {
  const path = join(route, 'actions')
  if (fields['actions'] === undefined) complain(reader, path, 'required: names of actions')
  const actions = readWords(reader, fields['actions'], path, {
    what: `actions of at most ${TIER_LIMITS.action} characters: exact, or a prefix with one "*" at its end`,
    most: TIER_LIMITS.actions,
    form: ACTION,
  })
  if (actions.some((action) => action.length > TIER_LIMITS.action))
    complain(reader, path, `longer than ${TIER_LIMITS.action} characters`)
  return actions
}

const SENDER_CONSTRAINTS: Readonly<Record<string, SenderConstraint>> = {
  DPoP: SenderConstraint.SENDER_CONSTRAINT_DPOP,
  MTLS: SenderConstraint.SENDER_CONSTRAINT_MTLS,
}
const AGE = { from: 0, to: TOKEN_RULE_LIMITS.ageS, fallback: 0 } as const

function readRequirements(reader: Reader, value: unknown, path: string): Requirements | undefined {
  if (value === undefined) return undefined
  const fields = readObject(reader, value, path, [
    'senderConstraints',
    'introspect',
    'sharedReplay',
    'acrValues',
    'maxAuthAgeSeconds',
    'maxTokenAgeSeconds',
    'clientKind',
  ])
  const at = (name: string) => join(path, name)
  const proofs = readWords(reader, fields['senderConstraints'], at('senderConstraints'), {
    what: 'ways of being bound: DPoP, MTLS',
    most: 2,
    form: /^(?:DPoP|MTLS)$/,
  })
  const acrValues = readWords(reader, fields['acrValues'], at('acrValues'), {
    what: `acr values of at most ${TOKEN_RULE_LIMITS.acr} characters without blanks or quotes`,
    most: TOKEN_RULE_LIMITS.acrValues,
    form: ACR_VALUE,
  })
  return {
    senderConstraints: proofs.flatMap((word) => SENDER_CONSTRAINTS[word] ?? []),
    introspect: readChoice(reader, fields['introspect'], at('introspect'), {
      words: { Always: true, WhenOpaque: false },
      fallback: false,
    }),
    sharedReplay: readChoice(reader, fields['sharedReplay'], at('sharedReplay'), {
      words: { Required: true, Optional: false },
      fallback: false,
    }),
    acrValues: [...acrValues],
    maxAuthAgeS: readInteger(reader, fields['maxAuthAgeSeconds'], at('maxAuthAgeSeconds'), AGE),
    maxTokenAgeS: readInteger(reader, fields['maxTokenAgeSeconds'], at('maxTokenAgeSeconds'), AGE),
    clientKind: readChoice<ClientKind>(reader, fields['clientKind'], at('clientKind'), {
      words: {
        Any: ClientKind.CLIENT_KIND_UNSPECIFIED,
        Machine: ClientKind.CLIENT_KIND_MACHINE,
        User: ClientKind.CLIENT_KIND_USER,
      },
      fallback: ClientKind.CLIENT_KIND_UNSPECIFIED,
    }),
  }
}
