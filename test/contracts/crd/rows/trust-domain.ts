import { parseTrustDomain, TRUST_DOMAIN } from '../../../../contracts/crd/trust-domain.ts'
import type { Rows } from './row.ts'

const key = { id: 'a', notAfter: '2030-01-31T12:00:00Z', state: 'Active' }

export const TRUST_DOMAIN_ROWS: Rows = {
  definition: TRUST_DOMAIN,
  parse: parseTrustDomain,
  sample: { name: 'acme.example' },
  defaulted: {
    name: 'acme.example',
    x509: { rootTTL: '8760h', svidTTL: '1h' },
    jwt: { svidTTL: '5m' },
    bundle: { refreshHint: '5m' },
  },
  accepted: [
    { name: 'a name with underscore', change: { name: 'a_b-c.9' } },
    { name: 'the longest name', change: { name: 'a'.repeat(255) } },
    { name: 'a name like an address', change: { name: '10.0.0.1' } },
    { name: 'the longest root', change: { 'x509.rootTTL': '87600h' } },
    { name: 'the longest certificate', change: { x509: { rootTTL: '144h', svidTTL: '24h' } } },
    { name: 'a sixth to the second', change: { x509: { rootTTL: '24h', svidTTL: '14400s' } } },
    { name: 'the shortest JWT', change: { jwt: { svidTTL: '60s' } } },
    { name: 'the longest hint', change: { bundle: { refreshHint: '1h' } } },
  ],
  refused: [
    {
      name: 'no name',
      change: { name: undefined },
      field: 'spec.name',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'a name in upper case',
      change: { name: 'Acme.example' },
      field: 'spec.name',
      says: 'must be a SPIFFE trust domain name: lower case letters',
    },
    {
      name: 'a URI',
      change: { name: 'spiffe://acme' },
      field: 'spec.name',
      says: 'without spiffe:// and port',
    },
    {
      name: 'a port',
      change: { name: 'acme.example:8443' },
      field: 'spec.name',
      says: 'without spiffe:// and port',
    },
    {
      name: 'a name too long',
      change: { name: 'a'.repeat(256) },
      field: 'spec.name',
      says: 'at most 255 characters',
      server: 'may not be more than 255 bytes',
    },
    {
      name: 'a root for a minute',
      change: { 'x509.rootTTL': '1m' },
      field: 'spec.x509.rootTTL',
      says: 'must be a duration from 24h to 87600h, written such as 8760h',
    },
    {
      name: 'a certificate for two days',
      change: { 'x509.svidTTL': '48h' },
      field: 'spec.x509.svidTTL',
      says: 'from 5m to 24h, written such as 1h: a stolen key',
    },
    {
      name: 'a certificate for more than a sixth of the root',
      change: { x509: { rootTTL: '24h', svidTTL: '14401s' } },
      field: 'spec.x509.svidTTL',
      says: 'must be at most a sixth of rootTTL',
    },
    {
      name: 'the default certificate under a malformed root: one problem, not two',
      change: { 'x509.rootTTL': 'long' },
      field: 'spec.x509.rootTTL',
      says: 'must be a duration from 24h',
    },
    {
      name: 'a JWT for an hour',
      change: { 'jwt.svidTTL': '1h' },
      field: 'spec.jwt.svidTTL',
      says: 'must be a duration from 1m to 15m, written such as 5m: it can be replayed',
    },
    {
      name: 'a hint of a day',
      change: { 'bundle.refreshHint': '24h' },
      field: 'spec.bundle.refreshHint',
      says: 'must be a duration from 10s to 1h',
    },
  ],
  frozen: [
    {
      name: 'another name',
      change: { name: 'other.example' },
      field: 'spec.name',
      says: 'name is immutable: every identity begins with it',
    },
  ],
  status: { sequence: 7, roots: [key], jwtKeys: [key], bundleKeys: [key] },
  columns: ['NAME', 'READY', 'DOMAIN', 'SEQUENCE', 'AGE'],
}
