import { AUDIENCE, ISSUER, indented, NAMESPACE, policySource, type World } from './world.ts'

// What the sample shop applies: whom it believes, by which rules, and the application itself.

const REPLICAS = 3

export function tokenIssuer({ caPem }: World, revokedKids: readonly string[] = []): string {
  return `
apiVersion: portcullis.dev/v1alpha1
kind: TokenIssuer
metadata: { name: idp, namespace: ${NAMESPACE} }
spec:
  issuer: ${ISSUER}
  jwks:
    uri: ${ISSUER}/jwks
    refreshInterval: 10s
    addresses: Private
    caBundle: |
${indented(caPem, 6)}
  algorithms: [RS256]
  tenant: { type: Claim, claim: { name: tenant, allowed: [acme, globex] } }
  revokedKids: [${revokedKids.join(', ')}]
`
}

export interface Rules {
  /** Replaces colleagues.rego. */
  readonly colleagues?: string
}

export function policyBundle({ colleagues }: Rules = {}): string {
  const names = ['colleagues', 'invoice', 'refund']
  const modules = names.map((name) => {
    const rego =
      name === 'colleagues' && colleagues !== undefined ? colleagues : policySource(`invoices/${name}.rego`)
    return `      - path: ${name}.rego\n        rego: |\n${indented(rego, 10)}`
  })
  const tests = names.map((name) => {
    const rego = policySource(
      `invoices${name === 'colleagues' && colleagues !== undefined ? '-edited' : ''}/${name}_test.rego`,
    )
    return `      - path: ${name}_test.rego\n        rego: |\n${indented(rego, 10)}`
  })
  const { settings } = JSON.parse(policySource('invoices/data.json')) as { settings: unknown }
  return `
apiVersion: portcullis.dev/v1alpha1
kind: PolicyBundle
metadata: { name: invoices, namespace: ${NAMESPACE} }
spec:
  tests: Required
  source:
    type: Inline
    inline:
      settings: '${JSON.stringify(settings)}'
      modules:
${[...modules, ...tests].map((text) => text.replace(/^ {6}/gm, '      ')).join('\n')}
`
}

/** `more` is further members of spec, as YAML of one line each. */
export function accessPolicy(audience = AUDIENCE, more: readonly string[] = []): string {
  return `
apiVersion: portcullis.dev/v1alpha1
kind: AccessPolicy
metadata: { name: shop, namespace: ${NAMESPACE} }
spec:
  selector: { matchLabels: { app: shop } }
  audience: ${audience}
  issuers: [{ name: idp }]
  bundle: { name: invoices }
  routes:
    - { actions: ["invoice:delete"], staleness: Strict }
    - { actions: ["invoice:list"], staleness: ReadDegraded }
${more.map((line) => `  ${line}\n`).join('')}`
}

const SECURITY = `
          securityContext:
            runAsNonRoot: true
            runAsUser: 65532
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
            seccompProfile: { type: RuntimeDefault }`

/** The application; `injected` false is the same without a sidecar, for comparison. */
export function deployment(
  image: string,
  { name = 'shop', injected = true, replicas = REPLICAS } = {},
): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${NAMESPACE} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata:
      labels: { app: ${name}${injected ? ', portcullis.dev/inject: enabled' : ''} }
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: app
          image: ${image}
          imagePullPolicy: IfNotPresent
          ports: [{ containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }
          resources: { requests: { cpu: 10m, memory: 32Mi } }${SECURITY}
`
}

export const INVOICE = {
  type: 'invoice',
  id: 'inv-1',
  tenant: 'acme',
  owner: 'alice',
  attributes: {},
} as const
