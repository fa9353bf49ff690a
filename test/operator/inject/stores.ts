import { type CertificateStore, type Hooks, STORE_NAME } from '../../../operator/inject/certificates.ts'
import { type Answer, type Ask, messageOf } from './ground.ts'

// The two ports of the certificates against a real API server, by plain requests.

export function secretStore(ask: Ask, namespace: string): CertificateStore {
  const path = `/api/v1/namespaces/${namespace}/secrets`
  return {
    read: async () => {
      const { status, body } = await ask('GET', `${path}/${STORE_NAME}`)
      if (status === 404) return undefined
      const decoded = Object.entries<string>(body.data).map(([name, value]) => [
        name,
        Buffer.from(value, 'base64').toString('utf8'),
      ])
      return { data: Object.fromEntries(decoded), version: body.metadata.resourceVersion }
    },
    write: async (data, version) => {
      const secret = {
        metadata: { name: STORE_NAME, ...(version ? { resourceVersion: version } : {}) },
        stringData: data,
      }
      const answer = version
        ? await ask('PUT', `${path}/${STORE_NAME}`, secret)
        : await ask('POST', path, secret)
      if (answer.status === 409) return 'conflict'
      expectGood(answer)
      return 'stored'
    },
  }
}

const CONFIGURATIONS = [
  'mutatingwebhookconfigurations/portcullis-inject',
  'validatingwebhookconfigurations/portcullis-validate',
]

export function webhookHooks(ask: Ask): Hooks {
  const path = (one: string) => `/apis/admissionregistration.k8s.io/v1/${one}`
  return {
    read: async () => {
      const answers = await Promise.all(CONFIGURATIONS.map((one) => ask('GET', path(one))))
      if (answers.some(({ status }) => status === 404)) return []
      return answers.flatMap(({ body }) =>
        body.webhooks.map((hook: { readonly clientConfig: { readonly caBundle?: string } }) =>
          Buffer.from(hook.clientConfig.caBundle ?? '', 'base64').toString('utf8'),
        ),
      )
    },
    patch: async (caBundle) => {
      for (const one of CONFIGURATIONS) {
        const { body } = await ask('GET', path(one))
        const encoded = Buffer.from(caBundle).toString('base64')
        const webhooks = body.webhooks.map(({ name }: { readonly name: string }) => ({
          name,
          clientConfig: { caBundle: encoded },
        }))
        const { apiVersion, kind } = body
        const apply = { apiVersion, kind, metadata: { name: body.metadata.name }, webhooks }
        const query = '?fieldManager=portcullis-webhook-ca&force=true'
        const headers = { 'content-type': 'application/apply-patch+yaml' }
        expectGood(await ask('PATCH', `${path(one)}${query}`, apply, headers))
      }
    },
  }
}

function expectGood(answer: Answer): void {
  if (answer.status >= 300) throw new Error(messageOf(answer))
}
