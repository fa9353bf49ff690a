import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { observed, podSelector } from './forms.ts'
import { duration, object, ruled, set, text, whole } from './schema.ts'

// SPIFFE-ID section 2.2: segments of this alphabet, none empty, none "." or "..", no slash at the end.
const PATH = '^(/([A-Za-z0-9._-]|[{](namespace|serviceAccount|pod)[}])+)+$'
const DOTS = '/[.]{1,2}(/|$)'

const spec = object('The identity of some pods.', {
  selector: podSelector('Pods of this namespace; empty selects all that have the sidecar.').prefault({}),
  path: ruled(
    text(
      'Path of their SPIFFE ID. {namespace}, {serviceAccount} and {pod} stand for those of the pod. The result must begin with /ns/ and the namespace of this object.',
      { max: 1024 },
    ),
    {
      says: 'must be the path of a SPIFFE ID, such as /ns/{namespace}/sa/{serviceAccount}: segments of letters, digits, ".", "-", "_" and the placeholders {namespace}, {serviceAccount}, {pod}; none empty, "." or ".."',
      cel: `self.matches(r'${PATH}') && !self.matches(r'${DOTS}')`,
      holds: (value) => new RegExp(PATH).test(value) && !new RegExp(DOTS).test(value),
    },
    {
      says: 'must begin with /ns/{namespace}/, or with /ns/ and the name of this namespace: an identity outside it would be that of others',
      cel: "self.startsWith('/ns/')",
      holds: (value) => value.startsWith('/ns/'),
    },
  ),
  hint: text('Told to the workload beside its SVID, so that it can choose among several.', {
    max: 1024,
  }).exactOptional(),
  svidTTL: duration('Life of its certificates; absent: that of the TrustDomain.', {
    from: '5m',
    to: '24h',
    such: '1h',
    why: 'a stolen key is good for as long as its certificate',
  }).exactOptional(),
})

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.WorkloadIdentity),
  spiffeIds: set('Some of the identities.', text('A SPIFFE ID.', { max: 2048 }), { max: 8 }).exactOptional(),
  pods: whole('Pods selected.').exactOptional(),
})

export const WORKLOAD_IDENTITY = {
  resource: RESOURCES.WorkloadIdentity,
  about:
    'An identity for some pods of a namespace, beside the one that every pod has through its service account.',
  spec,
  status,
  columns: [
    { name: 'Path', jsonPath: '.spec.path', description: 'Path of the SPIFFE ID.' },
    { name: 'Pods', jsonPath: '.status.pods', description: 'Pods selected.', type: 'integer' },
  ],
} as const satisfies Definition

export type WorkloadIdentity = Of<typeof WORKLOAD_IDENTITY>
export type WorkloadIdentityStatus = NonNullable<WorkloadIdentity['status']>

const parse = parserOf(WORKLOAD_IDENTITY, [
  {
    at: 'spec.path',
    says: 'must begin with /ns/ and the namespace of this object (write /ns/{namespace}/...): an identity outside it would be that of others',
    holds: ({ metadata: { namespace }, spec }) =>
      spec.path.replaceAll('{namespace}', namespace).startsWith(`/ns/${namespace}/`),
  },
])
export function parseWorkloadIdentity(object: unknown): Outcome<WorkloadIdentity> {
  return parse(object)
}
