import type { Resource } from './resource.ts'

// The built-in resources that the operator touches. Custom ones are declared where their schema is.

const core = (plural: string, kind: string, namespaced = true): Resource => ({
  group: '',
  version: 'v1',
  plural,
  kind,
  namespaced,
})
const grouped = (group: string, plural: string, kind: string, namespaced = true): Resource => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
})

export const PODS = core('pods', 'Pod')
export const NAMESPACES = core('namespaces', 'Namespace', false)
export const SECRETS = core('secrets', 'Secret')
export const CONFIG_MAPS = core('configmaps', 'ConfigMap')
export const SERVICES = core('services', 'Service')
export const LEASES = grouped('coordination.k8s.io', 'leases', 'Lease')
export const EVENTS = grouped('events.k8s.io', 'events', 'Event')
export const TOKEN_REVIEWS = grouped('authentication.k8s.io', 'tokenreviews', 'TokenReview', false)
export const CUSTOM_RESOURCE_DEFINITIONS = grouped(
  'apiextensions.k8s.io',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  false,
)
export const MUTATING_WEBHOOK_CONFIGURATIONS = grouped(
  'admissionregistration.k8s.io',
  'mutatingwebhookconfigurations',
  'MutatingWebhookConfiguration',
  false,
)
export const VALIDATING_WEBHOOK_CONFIGURATIONS = grouped(
  'admissionregistration.k8s.io',
  'validatingwebhookconfigurations',
  'ValidatingWebhookConfiguration',
  false,
)
