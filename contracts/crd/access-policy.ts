import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { advisories, objectName, observed, podSelector, programmed } from './forms.ts'
import { requirements, tokens } from './requirements.ts'
import { choice, duration, formed, list, listMap, object, ruled, set, text, whole } from './schema.ts'

const issuers = listMap(
  'Issuers whose tokens are believed here.',
  object('A TokenIssuer.', {
    name: objectName('Its name.'),
    namespace: ruled(
      text('Its namespace; empty is that of this object. Another one must allow this namespace.', {
        max: 63,
        min: 0,
      }),
      {
        says: 'must be the name of a namespace, or empty for that of this object',
        cel: "self == '' || self.matches(r'^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
        holds: (value) => value === '' || /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(value),
      },
    ).default(''),
  }),
  { keys: ['name', 'namespace'], min: 1, max: 32 },
)

const route = ruled(
  object('Actions that share a staleness tier, and what tokens must bring for them.', {
    actions: set(
      'Names of actions as the application asks for them: exact, or a prefix that ends in "*". An exact name wins over a prefix, a longer prefix over a shorter one.',
      formed('An action.', {
        max: 256,
        pattern: '^([!-)+-~]+[*]?|[*])$',
        says: 'must be the exact name of an action, or a prefix of names with one "*" at its end; ASCII without blanks',
      }),
      { min: 1, max: 64 },
    ),
    staleness: choice(
      'How old the knowledge of revocations may be before these actions are denied; the seconds are in the SidecarProfile. Strict denies first, ReadDegraded last. Choosing ReadDegraded is loosening: it needs the verb "relax" on accesspolicies.',
      ['Strict', 'Standard', 'ReadDegraded'],
    ).default('Standard'),
    requirements: requirements(
      'What tokens must bring for these actions, in place of spec.tokens.requirements; absent: just those.',
    ).exactOptional(),
  }),
  {
    says: 'sharedReplay must not be Required where token:exchange is named: no proof comes with a token that is exchanged; leave it out',
    cel: "!has(self.requirements) || self.requirements.sharedReplay != 'Required' || !('token:exchange' in self.actions)",
    holds: ({ actions, requirements: asked }) =>
      asked?.sharedReplay !== 'Required' || !actions.includes('token:exchange'),
    at: 'requirements',
  },
)

const routes = ruled(list('Actions that are not like the others.', route, { max: 64 }), {
  says: 'must not name an action in two routes: keep it in the one whose staleness you mean',
  // In CEL this would be 64 x 64 x 64 x 64 comparisons, past the API server's budget.
  holds: (all) => {
    const actions = all.flatMap((one) => one.actions)
    return new Set(actions).size === actions.length
  },
})

const spec = object('Which workloads ask which rules about whose tokens.', {
  selector: podSelector('Pods of this namespace; empty selects all that have the sidecar.').prefault({}),
  audience: text(
    'The aud that a token must carry: the name of the selected service, and of no other (RFC 8725 section 3.9).',
    { max: 512 },
  ),
  exclusiveAudience: choice(
    'Required: a token whose aud names others too is denied. Optional: it is accepted.',
    ['Required', 'Optional'],
  ).default('Optional'),
  maxTokenLifetime: duration(
    'A token whose exp lies further after its iat is denied. In whole seconds: a fraction is dropped.',
    {
      from: '60s',
      to: '24h',
      such: '1h',
      why: 'a stolen token is good for as long as it lives',
    },
  ).default('1h'),
  issuers,
  bundle: object('The rules.', { name: objectName('A PolicyBundle of the same namespace.') }),
  tokens: tokens(
    'What is asked of tokens beyond their audience, and how requests reach the workload.',
  ).exactOptional(),
  routes: routes.exactOptional(),
})

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.AccessPolicy),
  workloads: object('What the selector selects.', { pods: whole('Pods.') }).exactOptional(),
  programmed: programmed(),
  advisories: advisories(),
  conflictsWith: set(
    'Other AccessPolicies of this namespace that select a same pod with different content. Such a pod denies.',
    text('Name.', { max: 253 }),
    { max: 16 },
  ).exactOptional(),
})

export const ACCESS_POLICY = {
  resource: RESOURCES.AccessPolicy,
  about:
    'The attachment: pods of a namespace, the audience their tokens must carry, the issuers they believe and the rules that judge. Two that select one pod with different content make it deny, and are both named in status.',
  spec,
  status,
  columns: [
    { name: 'Audience', jsonPath: '.spec.audience', description: 'The aud of its tokens.' },
    { name: 'Bundle', jsonPath: '.spec.bundle.name', description: 'Its rules.' },
    { name: 'Pods', jsonPath: '.status.workloads.pods', description: 'Pods selected.', type: 'integer' },
    { name: 'Programmed', jsonPath: '.status.programmed', description: 'Sidecars that run it.' },
    {
      name: 'Conflict',
      jsonPath: '.status.conditions[?(@.type=="Conflict")].status',
      description: 'Whether another AccessPolicy contradicts it.',
      wide: true,
    },
  ],
} as const satisfies Definition

export type AccessPolicy = Of<typeof ACCESS_POLICY>
export type AccessPolicyStatus = NonNullable<AccessPolicy['status']>

const parse = parserOf(ACCESS_POLICY)
export function parseAccessPolicy(object: unknown): Outcome<AccessPolicy> {
  return parse(object)
}
