import { z } from 'zod'
import { CONDITION_LIMITS } from '../crd.ts'
import { choice, formed, listMap, moment, object, type Rule, ruled, text, whole } from './schema.ts'

/** Forms that several kinds share: names, addresses, digests, certificates, selectors, conditions. */

const LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'

/** Name of an object (RFC 1123 subdomain). */
export function objectName(description: string) {
  return formed(description, {
    max: 253,
    pattern: `^${LABEL}([.]${LABEL})*$`,
    says: 'must be the name of an object: lower case letters, digits, "-" and "."',
  })
}

/** https without user, query or fragment. */
export function httpsUrl(description: string, max: number) {
  return formed(description, {
    max,
    pattern: '^https://[A-Za-z0-9._:\\[\\]-]+(/[A-Za-z0-9._~!$&()*+,;=:@%/-]*)?$',
    says: 'must be an https URL without user, query or fragment, such as https://idp.example/path',
  })
}

export function spiffeId(description: string) {
  return formed(description, {
    max: 512,
    pattern: '^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+$',
    says: 'must be a SPIFFE ID, such as spiffe://cluster.example/ns/edge/sa/proxy',
  })
}

export function sha256(description: string) {
  return formed(description, {
    max: 64,
    pattern: '^[0-9a-f]{64}$',
    says: 'must be a SHA-256 in 64 lower case hex digits, as sha256sum prints it',
  })
}

/** Certificates that are trusted for one fetch. A private key has no business in an object that many may read. */
export function caBundle(description: string, max = 65_536) {
  return ruled(
    text(description, { max }),
    {
      says: 'must hold PEM certificates (-----BEGIN CERTIFICATE-----); give the authority that signed the server',
      cel: "self.contains('-----BEGIN CERTIFICATE-----')",
      holds: (value) => value.includes('-----BEGIN CERTIFICATE-----'),
    },
    {
      says: 'holds a private key: take it out, and replace that key, since others may have read it here',
      cel: "!self.contains('PRIVATE KEY-----')",
      holds: (value) => !value.includes('PRIVATE KEY-----'),
    },
  )
}

export function addresses() {
  return choice(
    'Which addresses the host may resolve to. Public refuses private, loopback, link-local and cluster addresses (SSRF); Private allows private and cluster addresses, never loopback or link-local.',
    ['Public', 'Private'],
  ).default('Public')
}

/** Text that is JSON. CEL has no parser for it, so the operator's webhook says so. */
export function jsonText(
  description: string,
  {
    max,
    says,
    fits,
  }: { readonly max: number; readonly says: string; readonly fits: (value: unknown) => boolean },
) {
  const rule: Rule<string> = {
    says,
    holds: (value) => {
      try {
        return fits(JSON.parse(value))
      } catch {
        return false
      }
    },
  }
  return ruled(text(description, { max }), rule)
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Pods by their labels, all of which must match. */
export function podSelector(description: string) {
  const matchLabels = z
    .record(z.string(), text('Value of the label.', { max: 63, min: 0 }))
    .refine((labels) => Object.keys(labels).length <= 16, {
      message: 'must have at most 16 labels; drop the others',
    })
    .meta({ description: 'Labels and their exact values.', maxProperties: 16 })
    .default({})
  return object(description, { matchLabels })
}

/** "N/M at REVISION": how many of the sidecars concerned run it. */
export function programmed() {
  return text('How many of the sidecars concerned have acknowledged what, such as "3/3 at generation 12".', {
    max: 256,
  }).exactOptional()
}

/** Every status begins with these two. */
export function observed(conditions: readonly string[]) {
  return {
    conditions: listMap(`Conditions: ${conditions.join(', ')}. Ready sums the others up.`, condition(), {
      keys: ['type'],
      max: 16,
    }).exactOptional(),
    observedGeneration: whole('The metadata.generation that this status speaks of.').exactOptional(),
  }
}

/** What works and should be better: nothing waits for it. */
export function advisories() {
  return listMap(
    'What works and should be better. Nothing waits for it, and it never keeps anything from being Ready.',
    object('One piece of advice.', {
      code: formed('Its name, which alerts and scripts may rely on.', {
        max: 64,
        pattern: '^[A-Z][A-Za-z0-9]*$',
        says: 'must be one CamelCase word',
      }),
      message: text('What, where and what to do.', { max: 512 }),
    }),
    { keys: ['code'], max: 16 },
  ).exactOptional()
}

function condition() {
  return object('One claim about the object.', {
    type: text('Name of the claim.', { max: CONDITION_LIMITS.type }),
    status: choice('True, False or Unknown.', ['True', 'False', 'Unknown']),
    reason: formed('Why, in one CamelCase word.', {
      max: CONDITION_LIMITS.reason,
      pattern: '^[A-Z][A-Za-z0-9]*$',
      says: 'must be one CamelCase word',
    }),
    message: text('Why, in a sentence: what is wrong, where, and what to do.', {
      max: CONDITION_LIMITS.message,
      min: 0,
    }),
    lastTransitionTime: moment('When status last changed.'),
    observedGeneration: whole('The metadata.generation that this condition speaks of.'),
  })
}
