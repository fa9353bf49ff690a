import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { DURATION, parseDuration } from './duration.ts'
import { observed } from './forms.ts'
import { redis } from './redis.ts'
import { choice, duration, formed, list, object, type Rule, ruled, set, text, whole } from './schema.ts'

const cpu = (description: string) =>
  formed(description, {
    max: 8,
    pattern: '^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$',
    says: 'must be an amount of CPU in whole or thousandths, such as 1 or 250m',
  })

const memory = (description: string) =>
  formed(description, {
    max: 8,
    pattern: '^[1-9][0-9]{0,5}(Mi|Gi)$',
    says: 'must be an amount of memory in Mi or Gi, such as 192Mi',
  })

interface Resources {
  readonly cpuRequest: string
  readonly cpuLimit: string
  readonly memoryRequest: string
  readonly memoryLimit: string
}

function within(request: 'cpuRequest' | 'memoryRequest', limit: 'cpuLimit' | 'memoryLimit'): Rule<Resources> {
  return {
    says: `must be at most ${limit}: lower it, or raise ${limit}`,
    cel: `!isQuantity(self.${request}) || !isQuantity(self.${limit}) || quantity(self.${request}).compareTo(quantity(self.${limit})) <= 0`,
    holds: (resources) => amount(resources[request]) <= amount(resources[limit]),
    at: request,
  }
}

/** Thousandths of a CPU, or MiB. */
function amount(quantity: string): number {
  const number = Number.parseInt(quantity, 10)
  if (quantity.endsWith('Gi')) return number * 1024
  return quantity.endsWith('m') || quantity.endsWith('Mi') ? number : number * 1000
}

const resources = ruled(
  object('What the sidecar container asks for, and may use at most.', {
    cpuRequest: cpu('CPU request.').default('20m'),
    cpuLimit: cpu('CPU limit.').default('1'),
    memoryRequest: memory('Memory request.').default('96Mi'),
    memoryLimit: memory('Memory limit; the heap is derived from it.').default('192Mi'),
  }),
  within('cpuRequest', 'cpuLimit'),
  within('memoryRequest', 'memoryLimit'),
)

const MEMBERS = ['strict', 'standard', 'readDegraded'] as const

function ordered(
  shorter: (typeof MEMBERS)[number],
  longer: (typeof MEMBERS)[number],
): Rule<Readonly<Record<string, string>>> {
  return {
    says: `must be at most ${longer}: a stricter route must not go on for longer; shorten it, or lengthen ${longer}`,
    cel: `!self.${shorter}.matches(r'${DURATION}') || !self.${longer}.matches(r'${DURATION}') || duration(self.${shorter}) <= duration(self.${longer})`,
    holds: (leases) =>
      (parseDuration(leases[shorter] ?? '') ?? 0) <=
      (parseDuration(leases[longer] ?? '') ?? Number.POSITIVE_INFINITY),
    at: shorter,
  }
}

const lease = (description: string, from: string, to: string, such: string) =>
  duration(description, {
    from,
    to,
    such,
    why: 'a revoked token may be allowed for that long by a sidecar cut off',
  })

const leases = ruled(
  object(
    'How old the knowledge of revocations may be before a route denies, per staleness tier of AccessPolicy.',
    {
      strict: lease('Tier Strict.', '1s', '60s', '5s').default('5s'),
      standard: lease('Tier Standard, and every action that no route names.', '5s', '10m', '60s').default(
        '60s',
      ),
      readDegraded: lease('Tier ReadDegraded.', '5s', '15m', '15m').default('15m'),
    },
  ),
  ordered('strict', 'standard'),
  ordered('standard', 'readDegraded'),
)

const spec = ruled(
  object('How the sidecar is injected.', {
    image: formed('Image of the sidecar, by digest, so that what was reviewed is what runs.', {
      max: 512,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$',
      says: 'must name the image by digest: NAME@sha256: and 64 hex digits; a tag can be moved to another image',
    }),
    imagePullPolicy: choice('When the kubelet pulls it.', ['IfNotPresent', 'Always', 'Never']).default(
      'IfNotPresent',
    ),
    resources: resources.prefault({}),
    leases: leases.prefault({}),
    decisionLog: choice(
      'Whether each decision is a line on standard output. Quote it: YAML takes an unquoted On for true.',
      ['On', 'Off'],
    ).default('On'),
    checkPort: whole('Port on localhost that applications ask.', { from: 1024, to: 65_535 }).default(7070),
    adminPort: whole('Port on the address of the pod for health and metrics.', {
      from: 1024,
      to: 65_535,
    }).default(9090),
    redis: redis().exactOptional(),
  }),
  {
    says: 'must differ from checkPort: give one of them another number',
    cel: 'self.adminPort != self.checkPort',
    holds: ({ adminPort, checkPort }) => adminPort !== checkPort,
    at: 'adminPort',
  },
)

const status = object('What the operator observed.', {
  ...observed(CONDITIONS.SidecarProfile),
  pods: object('Running pods that should have the sidecar.', {
    injected: whole('Those that have it as this profile says.'),
    missing: whole('Those without: they were there before, or someone went round admission. Recreate them.'),
    outdated: whole('Those with one of an earlier profile. Restart them.'),
  }).exactOptional(),
  missingSample: set('Some of those without, as namespace/pod.', text('namespace/pod.', { max: 320 }), {
    max: 5,
  }).exactOptional(),
  injection: object('What exactly is injected: the policy that guards pods compares it with each pod.', {
    image: text('Image.', { max: 512 }),
    args: list('Arguments.', text('An argument.', { max: 8192, min: 0 }), { max: 48 }),
    trustAnchors: list(
      'Roots (PEM) that the sidecar trusts the operator by.',
      text('A certificate.', { max: 16_384 }),
      { max: 4 },
    ),
    env: set('Names of the environment variables of the sidecar.', text('A name.', { max: 128 }), {
      max: 32,
    }),
  }).exactOptional(),
})

export const SIDECAR_PROFILE = {
  resource: RESOURCES.SidecarProfile,
  about:
    'How the sidecar is injected: image by digest, resources, ports, and how long it goes on when it no longer hears from the operator.',
  spec,
  status,
  columns: [
    { name: 'Injected', jsonPath: '.status.pods.injected', description: 'Pods with it.', type: 'integer' },
    {
      name: 'Missing',
      jsonPath: '.status.pods.missing',
      description: 'Pods that should have it.',
      type: 'integer',
    },
    {
      name: 'Outdated',
      jsonPath: '.status.pods.outdated',
      description: 'Pods with an earlier one.',
      type: 'integer',
    },
    { name: 'Image', jsonPath: '.spec.image', description: 'Its image.', wide: true },
  ],
} as const satisfies Definition

export type SidecarProfile = Of<typeof SIDECAR_PROFILE>
export type SidecarProfileStatus = NonNullable<SidecarProfile['status']>

const parse = parserOf(SIDECAR_PROFILE)
export function parseSidecarProfile(object: unknown): Outcome<SidecarProfile> {
  return parse(object)
}
