import { parseRevocation, REVOCATION } from '../../../../contracts/crd/revocation.ts'
import type { Rows } from './row.ts'

const sample = {
  issuerRef: { name: 'idp' },
  entries: [{ type: 'Jti', value: 'token-1' }],
  expiresAt: '2030-01-31T12:00:00Z',
}

export const REVOCATION_ROWS: Rows = {
  definition: REVOCATION,
  parse: parseRevocation,
  sample,
  defaulted: sample,
  accepted: [
    ...['Sid', 'Subject', 'ClientId', 'Kid', 'Tenant'].map((type) => ({
      name: `by ${type}`,
      change: { entries: [{ type, value: 'x' }] },
    })),
    {
      name: 'all of an issuer before a moment',
      change: { entries: [{ type: 'Issuer', issuedBefore: '2030-01-01T00:00:00Z' }] },
    },
    {
      name: 'a subject before a moment in another zone',
      change: { entries: [{ type: 'Subject', value: 'x', issuedBefore: '2030-01-01T00:00:00.5+02:00' }] },
    },
    {
      name: '256 entries',
      change: { entries: Array.from({ length: 256 }, (_, n) => ({ type: 'Jti', value: `${n}` })) },
    },
    { name: 'a reason', change: { reason: 'laptop stolen' } },
  ],
  refused: [
    {
      name: 'no issuer',
      change: { issuerRef: undefined },
      field: 'spec.issuerRef',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'no entry',
      change: { entries: [] },
      field: 'spec.entries',
      says: 'at least 1 entries',
      server: 'should have at least 1 items',
    },
    {
      name: '257 entries',
      change: { entries: Array.from({ length: 257 }, (_, n) => ({ type: 'Jti', value: `${n}` })) },
      field: 'spec.entries',
      says: 'at most 256 entries',
      server: 'must have at most 256 items',
    },
    {
      name: 'a token without its id',
      change: { entries: [{ type: 'Jti' }] },
      field: 'spec.entries[0].value',
      says: 'goes with every type but Issuer: give the exact value to deny',
    },
    {
      name: 'an issuer with a value',
      change: { entries: [{ type: 'Issuer', value: 'x', issuedBefore: '2030-01-01T00:00:00Z' }] },
      field: 'spec.entries[0].value',
      says: 'or leave it out with Issuer',
    },
    {
      name: 'all of an issuer for ever',
      change: { entries: [{ type: 'Issuer' }] },
      field: 'spec.entries[0].issuedBefore',
      says: 'is required with type Issuer: say up to which moment',
    },
    {
      name: 'an unknown property',
      change: { entries: [{ type: 'Email', value: 'x' }] },
      field: 'spec.entries[0].type',
      says: 'must be one of Jti, Sid, Subject',
      server: 'supported values: "Jti", "Sid", "Subject"',
    },
    {
      name: 'no end',
      change: { expiresAt: undefined },
      field: 'spec.expiresAt',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'an end in words',
      change: { expiresAt: 'tomorrow' },
      field: 'spec.expiresAt',
      says: 'must be a date and time with zone, such as 2030-01-31T12:00:00Z',
      server: 'must be of type date-time',
    },
    {
      name: 'a value too long',
      change: { entries: [{ type: 'Jti', value: 'x'.repeat(513) }] },
      field: 'spec.entries[0].value',
      says: 'at most 512 characters',
      server: 'may not be more than 512 bytes',
    },
  ],
  frozen: [
    {
      name: 'another issuer',
      change: { issuerRef: { name: 'other' } },
      field: 'spec.issuerRef',
      says: 'issuerRef is immutable: create a Revocation for the other issuer',
    },
  ],
  status: { programmed: '3/3', enforcedAt: '2030-01-01T00:00:00Z', seconds: 1 },
  columns: ['NAME', 'READY', 'ISSUER', 'PROGRAMMED', 'ENFORCED', 'EXPIRES', 'AGE'],
}
