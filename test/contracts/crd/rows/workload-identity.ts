import { parseWorkloadIdentity, WORKLOAD_IDENTITY } from '../../../../contracts/crd/workload-identity.ts'
import type { Rows } from './row.ts'

const FORM = 'must be the path of a SPIFFE ID, such as /ns/{namespace}/sa/{serviceAccount}'
const path = '/ns/{namespace}/sa/{serviceAccount}'

export const WORKLOAD_IDENTITY_ROWS: Rows = {
  definition: WORKLOAD_IDENTITY,
  parse: parseWorkloadIdentity,
  sample: { path },
  defaulted: { path, selector: { matchLabels: {} } },
  accepted: [
    { name: 'its own namespace in letters', change: { path: '/ns/shop/web' } },
    { name: 'the pod', change: { path: '/ns/{namespace}/pod/{pod}' } },
    { name: 'placeholders within a segment', change: { path: '/ns/{namespace}/{serviceAccount}.{pod}_x' } },
    { name: 'three dots', change: { path: '/ns/{namespace}/...' } },
    { name: 'some pods', change: { 'selector.matchLabels': { app: 'web' } } },
    { name: 'a hint', change: { hint: 'internal' } },
    { name: 'the shortest certificate', change: { svidTTL: '5m' } },
    { name: 'the longest certificate', change: { svidTTL: '1440m' } },
  ],
  refused: [
    {
      name: 'no path',
      change: { path: undefined },
      field: 'spec.path',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'a path outside the tree of namespaces',
      change: { path: '/admin' },
      field: 'spec.path',
      says: 'must begin with /ns/{namespace}/',
    },
    { name: 'a slash at the end', change: { path: '/ns/{namespace}/' }, field: 'spec.path', says: FORM },
    { name: 'an empty segment', change: { path: '/ns/{namespace}//a' }, field: 'spec.path', says: FORM },
    { name: 'a step back', change: { path: '/ns/{namespace}/../other' }, field: 'spec.path', says: FORM },
    {
      name: 'a step back at the end',
      change: { path: '/ns/{namespace}/a/..' },
      field: 'spec.path',
      says: FORM,
    },
    { name: 'an escaped slash', change: { path: '/ns/{namespace}/a%2Fb' }, field: 'spec.path', says: FORM },
    {
      name: 'an unknown placeholder',
      change: { path: '/ns/{namespace}/{node}' },
      field: 'spec.path',
      says: FORM,
    },
    {
      name: 'a certificate for two days',
      change: { svidTTL: '48h' },
      field: 'spec.svidTTL',
      says: 'must be a duration from 5m to 24h',
    },
    {
      name: 'a hint too long',
      change: { hint: 'x'.repeat(1025) },
      field: 'spec.hint',
      says: 'at most 1024 characters',
      server: 'may not be more than 1024 bytes',
    },
    {
      name: 'the namespace of others',
      change: { path: '/ns/bank/web' },
      field: 'spec.path',
      says: 'must begin with /ns/ and the namespace of this object',
      admissionOnly: true,
    },
    {
      name: 'a namespace that begins like this one',
      change: { path: '/ns/shop-admin/web' },
      field: 'spec.path',
      says: 'must begin with /ns/ and the namespace of this object',
      admissionOnly: true,
    },
  ],
  frozen: [],
  status: { spiffeIds: ['spiffe://acme.example/ns/shop/web'], pods: 1 },
  columns: ['NAME', 'READY', 'PATH', 'PODS', 'AGE'],
}
