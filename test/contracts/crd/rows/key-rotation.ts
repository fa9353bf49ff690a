import { KEY_ROTATION, parseKeyRotation } from '../../../../contracts/crd/key-rotation.ts'
import type { Rows } from './row.ts'

const at = '2030-01-31T12:00:00Z'
const revoke = { action: 'Revoke', keyId: 'jwt-1', reason: 'leaked' }

export const KEY_ROTATION_ROWS: Rows = {
  definition: KEY_ROTATION,
  parse: parseKeyRotation,
  sample: { trustDomain: 'acme.example', use: 'JWTSVID' },
  defaulted: { trustDomain: 'acme.example', use: 'JWTSVID', action: 'Rotate' },
  accepted: [
    { name: 'the X.509 authority', change: { use: 'X509CA' } },
    { name: 'the bundle key, with a reason', change: { use: 'BundleSigning', reason: 'yearly' } },
    { name: 'a revocation', change: revoke },
    {
      name: 'an override',
      change: { override: { skipAcknowledgement: 'Allowed', justification: 'node lost for good' } },
    },
    {
      name: 'an override with the shortest justification',
      change: { override: { skipAcknowledgement: 'Allowed', justification: '0123456789' } },
    },
    { name: 'the longest reason', change: { reason: 'x'.repeat(256) } },
    { name: 'the longest id of a key', change: { ...revoke, keyId: 'x'.repeat(128) } },
    { name: 'a trust domain of one label', change: { trustDomain: 'acme' } },
  ],
  refused: [
    {
      name: 'no trust domain',
      change: { trustDomain: undefined },
      field: 'spec.trustDomain',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'a trust domain as a URI',
      change: { trustDomain: 'spiffe://acme.example' },
      field: 'spec.trustDomain',
      says: 'must be the name of an object: lower case letters',
    },
    {
      name: 'an unknown use',
      change: { use: 'TLS' },
      field: 'spec.use',
      says: 'must be one of X509CA, JWTSVID, BundleSigning',
      server: 'supported values: "X509CA", "JWTSVID", "BundleSigning"',
    },
    {
      name: 'an unknown action',
      change: { action: 'Delete' },
      field: 'spec.action',
      says: 'must be one of Rotate, Revoke',
      server: 'supported values: "Rotate", "Revoke"',
    },
    {
      name: 'a revocation of no key',
      change: { ...revoke, keyId: undefined },
      field: 'spec.keyId',
      says: 'goes with action Revoke and only with it: name the key to revoke',
    },
    {
      name: 'a rotation of one key',
      change: { keyId: 'jwt-1' },
      field: 'spec.keyId',
      says: 'goes with action Revoke and only with it',
    },
    {
      name: 'a revocation without reason',
      change: { ...revoke, reason: undefined },
      field: 'spec.reason',
      says: 'is required with action Revoke: say why',
    },
    {
      name: 'an override without justification',
      change: { override: { skipAcknowledgement: 'Allowed' } },
      field: 'spec.override.justification',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'an override with a short justification',
      change: { override: { skipAcknowledgement: 'Allowed', justification: 'because' } },
      field: 'spec.override.justification',
      says: 'at least 10 characters',
      server: 'should be at least 10 chars long',
    },
    {
      name: 'an override that overrides nothing',
      change: { override: { skipAcknowledgement: 'Denied', justification: '0123456789' } },
      field: 'spec.override.skipAcknowledgement',
      says: 'must be one of Allowed',
      server: 'supported values: "Allowed"',
    },
  ],
  frozen: [
    {
      name: 'another trust domain',
      change: { trustDomain: 'other' },
      field: 'spec.trustDomain',
      says: 'trustDomain is immutable: create another KeyRotation',
    },
    { name: 'another use', change: { use: 'X509CA' }, field: 'spec.use', says: 'use is immutable' },
    { name: 'another action', change: revoke, field: 'spec.action', says: 'action is immutable' },
    { name: 'a later reason', change: { reason: 'x' }, field: 'spec.reason', says: 'reason is immutable' },
    {
      name: 'another key',
      from: revoke,
      change: { ...revoke, keyId: 'jwt-2' },
      field: 'spec.keyId',
      says: 'keyId is immutable',
    },
  ],
  status: {
    phase: 'Published',
    keys: [{ id: 'a', state: 'Published', notBefore: at, notAfter: at, publishedSequence: 3, since: at }],
    verifiers: {
      sequence: 3,
      total: 3,
      acknowledged: 2,
      lapsed: 0,
      stragglers: ['shop/orders-1'],
      observedAt: at,
    },
    steps: [{ step: 'publish', at, detail: '2 of 3' }],
  },
  columns: ['NAME', 'READY', 'USE', 'ACTION', 'PHASE', 'ACKNOWLEDGED', 'VERIFIERS', 'AGE'],
}
