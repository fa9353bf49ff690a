import { CONDITIONS, RESOURCES } from '../crd.ts'
import { type Definition, type Of, type Outcome, parserOf } from './definition.ts'
import { objectName, observed } from './forms.ts'
import { choice, list, listMap, moment, object, type Rule, ruled, set, text, whole } from './schema.ts'

interface Fields {
  readonly action: 'Rotate' | 'Revoke'
  readonly keyId?: string
  readonly reason?: string
}

/** A rotation is a record of what was done: another wish is another object. */
const REMEDY = 'is immutable: create another KeyRotation for another wish; this one stays as the record'

function fixed(member: 'trustDomain' | 'use' | 'action'): Rule<Fields> {
  return { says: `${member} ${REMEDY}`, cel: `self.${member} == oldSelf.${member}`, at: member }
}

function fixedIfAny(member: 'keyId' | 'reason'): Rule<Fields> {
  return {
    says: `${member} ${REMEDY}`,
    cel: `has(self.${member}) == has(oldSelf.${member}) && (!has(self.${member}) || self.${member} == oldSelf.${member})`,
    at: member,
  }
}

const spec = ruled(
  object('One change of one key.', {
    trustDomain: objectName('Name of the TrustDomain object (metadata.name). Immutable.'),
    use: choice(
      'Which key: the X.509 authority, the key of JWT-SVIDs, or the key that signs policy bundles. Immutable.',
      ['X509CA', 'JWTSVID', 'BundleSigning'],
    ),
    action: choice(
      'Rotate: prepare a new key, publish it, activate it when every verifier has acknowledged it, retire the old one after its last credential expired. Revoke: the key named by keyId ends everywhere, at once, whoever has acknowledged. Immutable.',
      ['Rotate', 'Revoke'],
    ).default('Rotate'),
    keyId: text(
      'The key to revoke, an id of status.keys or of the TrustDomain. With Revoke only. Immutable.',
      {
        max: 128,
      },
    ).exactOptional(),
    reason: text('Why, for people and the audit log. Required with Revoke. Immutable.', {
      max: 256,
    }).exactOptional(),
    override: object(
      'Goes on without the acknowledgements that are missing, whose verifiers may then deny good credentials. This is loosening: it needs the verb "relax" on keyrotations, and is recorded in status.steps.',
      {
        skipAcknowledgement: choice('Allowed is the only value.', ['Allowed']),
        justification: text('Why that is right now, in at least 10 characters.', { min: 10, max: 512 }),
      },
    ).exactOptional(),
  }),
  fixed('trustDomain'),
  fixed('use'),
  fixed('action'),
  fixedIfAny('keyId'),
  fixedIfAny('reason'),
  {
    says: 'goes with action Revoke and only with it: name the key to revoke (kubectl get keyrotations,trustdomains -o yaml shows their ids)',
    cel: "(self.action == 'Revoke') == has(self.keyId)",
    holds: ({ action, keyId }) => (action === 'Revoke') === (keyId !== undefined),
    at: 'keyId',
  },
  {
    says: 'is required with action Revoke: say why the key is revoked',
    cel: "self.action != 'Revoke' || has(self.reason)",
    holds: ({ action, reason }) => action !== 'Revoke' || reason !== undefined,
    at: 'reason',
  },
)

const key = object('A key of this use.', {
  id: text('Its id.', { max: 128 }),
  state: choice('Where it is on its way.', [
    'Prepared',
    'Published',
    'Active',
    'Retiring',
    'Retired',
    'Revoked',
  ]),
  notBefore: moment('From when it is valid.').exactOptional(),
  notAfter: moment('Until when it is valid.').exactOptional(),
  publishedSequence: whole('Sequence of the trust bundle that first carried it.').exactOptional(),
  since: moment('When it came into this state.').exactOptional(),
})

const verifiers = object('Who must know the new key before it is used.', {
  sequence: whole('Sequence of the trust bundle that they must have.'),
  total: whole('Verifiers.'),
  acknowledged: whole('Those that have it.'),
  lapsed: whole('Those that lost their lease, and therefore deny by themselves.'),
  stragglers: set('Some of the others, as namespace/pod.', text('namespace/pod.', { max: 320 }), {
    max: 20,
  }).exactOptional(),
  observedAt: moment('When they were counted.').exactOptional(),
})

const status = object('What the operator did and saw.', {
  ...observed(CONDITIONS.KeyRotation),
  phase: choice('How far it is.', [
    'Pending',
    'Prepared',
    'Published',
    'Active',
    'Retiring',
    'Complete',
    'Revoked',
    'Failed',
  ]).exactOptional(),
  keys: listMap('Keys of this use.', key, { keys: ['id'], max: 16 }).exactOptional(),
  verifiers: verifiers.exactOptional(),
  steps: list(
    'What was done, the oldest first.',
    object('A step.', {
      step: text('Its name.', { max: 64 }),
      at: moment('When.'),
      detail: text('With what counts.', { max: 512, min: 0 }),
    }),
    { max: 32 },
  ).exactOptional(),
})

export const KEY_ROTATION = {
  resource: RESOURCES.KeyRotation,
  about:
    'One change of one of our own keys, done in steps that lose no request, or at once in an emergency. Keys of foreign issuers are revoked with spec.revokedKids of TokenIssuer.',
  spec,
  status,
  columns: [
    { name: 'Use', jsonPath: '.spec.use', description: 'Which key.' },
    { name: 'Action', jsonPath: '.spec.action', description: 'Rotate or Revoke.' },
    { name: 'Phase', jsonPath: '.status.phase', description: 'How far it is.' },
    {
      name: 'Acknowledged',
      jsonPath: '.status.verifiers.acknowledged',
      description: 'Verifiers that have the new key.',
      type: 'integer',
    },
    {
      name: 'Verifiers',
      jsonPath: '.status.verifiers.total',
      description: 'Verifiers in all.',
      type: 'integer',
    },
    { name: 'Reason', jsonPath: '.spec.reason', description: 'Why.', wide: true },
  ],
} as const satisfies Definition

export type KeyRotation = Of<typeof KEY_ROTATION>
export type KeyRotationStatus = NonNullable<KeyRotation['status']>

const parse = parserOf(KEY_ROTATION)
export function parseKeyRotation(object: unknown): Outcome<KeyRotation> {
  return parse(object)
}
