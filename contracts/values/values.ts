import { z } from 'zod'

/**
 * What an installation is told: the one source of charts/portcullis/values.schema.json. Closed everywhere, so that a slip of the pen
 * is refused instead of ignored. What each value is for, and its default, stands in charts/portcullis/values.yaml.
 */

const closed = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape).partial()
const text = (pattern: RegExp, description: string) => z.string().regex(pattern).describe(description)
const whole = (from: number, to: number) => z.int().min(from).max(to)

const DIGEST = /^sha256:[0-9a-f]{64}$/
const RUNBOOKS = /^[A-Za-z0-9][A-Za-z0-9:/._~-]{0,252}[A-Za-z0-9]$/
const REPOSITORY = /^[a-z0-9][a-z0-9._:/-]{0,254}$/

const repository = text(
  REPOSITORY,
  'Name of an image without tag and digest, such as registry.example/portcullis/operator.',
)
const digest = text(DIGEST, 'sha256: and 64 hex digits.')
const pullPolicy = z.enum(['IfNotPresent', 'Always', 'Never'])

const cpu = text(/^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$/, 'CPU, such as 1 or 250m; quote a whole number.')
const memory = text(/^[1-9][0-9]{0,5}(Mi|Gi)$/, 'Memory, such as 192Mi.')
const duration = text(
  /^[0-9]{1,9}(ms|s|m|h)$/,
  'One number and one unit: ms, s, m or h. The CRD knows its bounds.',
)

const amounts = closed({ cpu, memory, 'ephemeral-storage': memory })
const program = closed({
  replicas: whole(1, 9).describe('Below 2 an update or a lost node is a pause.'),
  resources: closed({ requests: amounts, limits: amounts }),
})

const sidecar = z.strictObject({
  image: z.strictObject({ repository, digest }),
  pullPolicy: pullPolicy.optional(),
  resources: closed({
    cpuRequest: cpu,
    cpuLimit: cpu,
    memoryRequest: memory,
    memoryLimit: memory,
  }).optional(),
  leases: closed({ strict: duration, standard: duration, readDegraded: duration }).optional(),
  decisionLog: z.enum(['On', 'Off']).describe('Quoted: YAML takes an unquoted On for true.').optional(),
  checkPort: whole(1024, 65_535).optional(),
  adminPort: whole(1024, 65_535).optional(),
})

const label = z.string().max(63)
const labels = z.record(z.string().max(317), label)
const monitor = closed({ enabled: z.boolean(), labels, interval: duration })

const toleration = closed({
  key: z.string(),
  operator: z.enum(['Exists', 'Equal']),
  value: z.string(),
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']),
  tolerationSeconds: z.int().min(0),
})

const CIDR = /^([0-9]{1,3}(\.[0-9]{1,3}){3}\/[0-9]{1,2}|[0-9a-fA-F:]{2,39}\/[0-9]{1,3})$/
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const port = whole(1, 65_535)

export const VALUES = z.strictObject({
  trustDomain: text(/^[a-z0-9._-]{1,255}$/, 'SPIFFE trust domain; can never change.'),
  image: z
    .strictObject({
      repository,
      digest: digest.optional(),
      tag: text(
        /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/,
        'Only for trying things out: a tag can be moved.',
      ).optional(),
      pullPolicy: pullPolicy.optional(),
    })
    .describe('The image of the operator, by digest (or tag).'),
  imagePullSecrets: z
    .array(z.strictObject({ name: z.string().min(1).max(253) }))
    .max(8)
    .optional(),
  sidecar,
  trust: closed({ rootTTL: duration, svidTTL: duration, jwtTTL: duration, refreshHint: duration }).optional(),
  control: program.optional(),
  issuer: program.optional(),
  logout: closed({
    enabled: z.boolean(),
    from: labels.describe(
      'Labels of the namespaces that may send logout tokens: that of the ingress, whose X-Forwarded-For is then believed. Empty: all.',
    ),
  }).optional(),
  redis: closed({
    enabled: z.boolean(),
    mode: z.enum(['standalone', 'sentinel', 'cluster']),
    endpoints: z
      .array(text(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?:[1-9][0-9]{0,4}$/, 'HOST:PORT.'))
      .max(16)
      .describe('The server, the sentinels, or some nodes of the cluster.'),
    sentinelName: text(/^[A-Za-z0-9._-]{0,64}$/, 'Name of the master set, with mode sentinel.'),
    username: text(/^[A-Za-z0-9._-]{0,64}$/, 'User of the ACL; empty: the default one.'),
    keyPrefix: text(/^[A-Za-z0-9._-]{1,64}$/, 'Begins the name of the stream.'),
    tls: z.enum(['required', 'off']).describe('required: with the SVID of control as client certificate.'),
    secret: text(
      /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$/,
      'A Secret with ca.crt and, if needed, password.',
    ),
    password: z.boolean().describe('Whether the Secret has a password that is to be sent.'),
    cidrs: z.array(text(CIDR, 'A range of addresses.')).max(16),
    ports: z.array(port).min(1).max(8),
  }).optional(),
  configMapNamespaces: z
    .array(text(NAMESPACE, 'A namespace.'))
    .max(256)
    .describe('Where PolicyBundles of type ConfigMap may be.')
    .optional(),
  priorityClassName: z.string().max(253).optional(),
  nodeSelector: labels.optional(),
  tolerations: z.array(toleration).max(32).optional(),
  crds: closed({ enabled: z.boolean() }).optional(),
  defaults: closed({ enabled: z.boolean() }).optional(),
  cleanup: closed({ enabled: z.boolean() }).optional(),
  networkPolicy: closed({
    enabled: z.boolean(),
    apiServer: closed({
      cidrs: z.array(text(CIDR, 'A range of addresses.')).min(1).max(16),
      ports: z.array(port).min(1).max(8),
    }),
    fetch: closed({
      cidrs: z.array(text(CIDR, 'A range of addresses.')).max(16),
      ports: z.array(port).min(1).max(8),
    }),
    metricsFrom: labels.describe('Labels of the namespaces that may read metrics; empty: all.'),
  }).optional(),
  metrics: closed({
    serviceMonitor: monitor,
    podMonitor: monitor,
    prometheusRule: closed({
      enabled: z.boolean(),
      labels,
      runbooks: text(RUNBOOKS, 'Where docs/runbook is served, without a final slash.'),
    }),
    dashboard: closed({ enabled: z.boolean(), labels }),
  }).optional(),
  global: z.record(z.string(), z.unknown()).describe('Of a parent chart; not used.').optional(),
})

export type Values = z.infer<typeof VALUES>
