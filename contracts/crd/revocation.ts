import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { objectName, observed, programmed } from './forms.ts'
import { choice, immutable, list, moment, object, ruled, text, whole } from './schema.ts'

const entry = ruled(
  object('What is denied.', {
    type: choice(
      'Which property of a token is compared: Jti, Sid, Subject (sub), ClientId (client_id or azp), Kid (of its signing key), Tenant, or Issuer (every token of the issuer).',
      ['Jti', 'Sid', 'Subject', 'ClientId', 'Kid', 'Tenant', 'Issuer'],
    ),
    value: text('Its exact value. Absent with type Issuer.', { max: 512 }).exactOptional(),
    issuedBefore: moment(
      'Only tokens issued before this moment (iat) are denied, so that a new login works. Required with type Issuer.',
    ).exactOptional(),
  }),
  {
    says: 'goes with every type but Issuer: give the exact value to deny, or leave it out with Issuer',
    cel: "(self.type == 'Issuer') != has(self.value)",
    holds: ({ type, value }) => (type === 'Issuer') !== (value !== undefined),
    at: 'value',
  },
  {
    says: 'is required with type Issuer: say up to which moment its tokens are denied; to end all trust, delete the TokenIssuer',
    cel: "self.type != 'Issuer' || has(self.issuedBefore)",
    holds: ({ type, issuedBefore }) => type !== 'Issuer' || issuedBefore !== undefined,
    at: 'issuedBefore',
  },
)

const spec = object('Tokens that are denied though they verify.', {
  issuerRef: ruled(
    object('The issuer of those tokens. They are denied wherever it is trusted.', {
      name: objectName('A TokenIssuer of the same namespace.'),
    }),
    immutable('issuerRef', 'create a Revocation for the other issuer, and leave this one until it expires'),
  ),
  entries: list(
    'What is denied; any match denies. Taking an entry away, or deleting the object before expiresAt, is loosening: it needs the verb "relax" on revocations.',
    entry,
    { min: 1, max: 256 },
  ),
  expiresAt: moment(
    'From when it denies nothing any more: not before the last token concerned has expired, and at most 400 days ahead. Making it earlier is loosening, as above.',
  ),
  reason: text('Why, for people and the audit log.', { max: 256 }).exactOptional(),
})

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.Revocation),
  programmed: programmed(),
  enforcedAt: moment('When the last sidecar concerned acknowledged this generation.').exactOptional(),
  seconds: whole('Seconds from the change of the object to enforcedAt, rounded up.').exactOptional(),
})

export const REVOCATION = {
  resource: RESOURCES.Revocation,
  about:
    'Tokens denied though they verify, by people: by token id, session, subject, client, key, tenant, or all of an issuer before a moment. It ends by itself, and status shows when every sidecar enforced it.',
  spec,
  status,
  columns: [
    { name: 'Issuer', jsonPath: '.spec.issuerRef.name', description: 'TokenIssuer concerned.' },
    { name: 'Programmed', jsonPath: '.status.programmed', description: 'Sidecars that enforce it.' },
    { name: 'Enforced', jsonPath: '.status.enforcedAt', description: 'Since when all do.', type: 'date' },
    { name: 'Expires', jsonPath: '.spec.expiresAt', description: 'When it ends (RFC 3339).' },
    { name: 'Reason', jsonPath: '.spec.reason', description: 'Why.', wide: true },
  ],
} as const satisfies Definition

export type Revocation = Of<typeof REVOCATION>
export type RevocationStatus = NonNullable<Revocation['status']>

const parse = parserOf(REVOCATION)
export function parseRevocation(object: unknown): Outcome<Revocation> {
  return parse(object)
}
