import { generateKeyPairSync } from 'node:crypto'

// What the tests of the running control role apply.

export const SYSTEM = 'portcullis-system'
export const TD = 'cluster.example'
const IMAGE = `registry.example/portcullis/sidecar@sha256:${'5'.repeat(64)}`

export const podYaml = (name: string, labels = 'app: shop') => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { ${labels} }, annotations: { portcullis.dev/injected: default@x } }
spec:
  serviceAccountName: default
  initContainers: [{ name: portcullis, image: "${IMAGE}", restartPolicy: Always }]
  containers: [{ name: app, image: app }]
`
export const operatorPod = (name: string, account: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${SYSTEM} }
spec:
  serviceAccountName: ${account}
  containers: [{ name: operator, image: "operator@sha256:1" }]
`
export const account = (name: string, namespace: string) =>
  `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}, namespace: ${namespace}}}`

export const bundleYaml = (rego: string, name = 'rules') => `
apiVersion: portcullis.dev/v1alpha1
kind: PolicyBundle
metadata: { name: ${name}, namespace: shop }
spec:
  tests: Skip
  source:
    type: Inline
    inline:
      modules:
        - path: app.rego
          rego: |
${rego.replaceAll(/^/gm, '            ')}
`
export const ALLOWING = (action: string) =>
  `package app\n\nallow contains "x" if input.action == "${action}"\n`
export const policyYaml = (audience = 'https://shop.example', name = 'front', app = 'shop') => `
apiVersion: portcullis.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  selector: { matchLabels: { app: ${app} } }
  audience: ${audience}
  issuers: [{ name: idp }]
  bundle: { name: rules }
`
const JWK = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
export const issuerYaml = `
apiVersion: portcullis.dev/v1alpha1
kind: TokenIssuer
metadata: { name: idp, namespace: shop }
spec:
  issuer: https://idp.example
  algorithms: [ES256]
  tenant: { type: Fixed, fixed: acme }
  jwks:
    inline: '${JSON.stringify({ keys: [{ ...JWK, kid: 'k1', alg: 'ES256', use: 'sig' }] })}'
`
export const revocationYaml = (name: string, jti = name) => `
apiVersion: portcullis.dev/v1alpha1
kind: Revocation
metadata: { name: ${name}, namespace: shop }
spec:
  issuerRef: { name: idp }
  expiresAt: "2035-01-01T00:00:00Z"
  entries: [{ type: Jti, value: ${jti} }]
`
export const BASE = `
apiVersion: portcullis.dev/v1alpha1
kind: TrustDomain
metadata: { name: main }
spec: { name: ${TD} }
---
apiVersion: portcullis.dev/v1alpha1
kind: SidecarProfile
metadata: { name: default }
spec: { image: "${IMAGE}" }
`
