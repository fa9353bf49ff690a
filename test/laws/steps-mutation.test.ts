import { describe, expect, test } from 'vitest'
import { ClientKind } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Caller, Steps } from '../../sidecar/decide.ts'
import type { Allowance, Denial } from '../../sidecar/decision.ts'
import type { Principal } from '../../sidecar/principal.ts'
import type { BoundToken } from '../../sidecar/token/binding.ts'
import type { Presented } from '../../sidecar/token/credentials.ts'
import { parseJwt } from '../../sidecar/token/jwt.ts'
import type { VerifiedToken } from '../../sidecar/token/verify.ts'
import { AT_S, tokenOf } from '../attacks/arena.ts'
import { messageOf } from '../attacks/dpop-arena.ts'
import { openSteps, told } from '../attacks/steps.ts'
import { signingKey } from '../fixtures/keys.ts'
import { BASE_URL } from '../fixtures/proofs.ts'
import { question } from '../fixtures/question.ts'

const { steps, trust, faults } = await openSteps({
  tokens: {
    firstPartyScopes: ['admin'],
    externalBaseUrl: BASE_URL,
    // Proofs are remembered in a store of all replicas only, and there is none.
    requirements: {
      ...{ senderConstraints: [], introspect: false, sharedReplay: true, acrValues: [] },
      ...{ maxAuthAgeS: 0, maxTokenAgeS: 0, clientKind: ClientKind.CLIENT_KIND_UNSPECIFIED },
    },
  },
})
const NOW = AT_S * 1000
const good = question({ token: tokenOf({}) })
const [header] = good.headers
const STEPS = ['current', 'present', 'verify', 'bind', 'standing', 'admit', 'spend', 'judge'] as const
type StepName = (typeof STEPS)[number]

/** A message that this step, and no earlier one, refuses. */
const REFUSED: Readonly<Record<StepName, typeof good>> = {
  current: good,
  present: { ...good, headers: header ? [header, header] : [] },
  verify: question({ token: tokenOf({ key: { ...signingKey('RS256', 'attacker'), kid: 'rs256-1' } }) }),
  bind: question({ token: tokenOf({ claims: { cnf: { jkt: 'a' } } }) }),
  standing: question({ token: tokenOf({ claims: { tenant: 'initech' } }), stored: { tenant: 'initech' } }),
  admit: question({ token: tokenOf({ claims: { scope: 'invoice:read admin' } }) }),
  spend: messageOf({ proof: { at: AT_S + 60 } }),
  judge: question({ token: tokenOf({}), stored: { tenant: 'globex' } }),
}
const REASON: Readonly<Record<StepName, string>> = {
  current: 'clock_unsafe',
  present: 'auth_multiple',
  verify: 'sig_invalid',
  bind: 'cnf_scheme_mismatch',
  standing: 'issuer_tenant_mismatch',
  admit: 'policy_denied',
  spend: 'replay_store_unavailable',
  judge: 'tenant_mismatch',
}
// The store has seen a later moment: the clock went back.
steps.current(NOW + 60_000)
const momentFor = (step: StepName) => (step === 'current' ? NOW : NOW + 60_000)

/** Each step as somebody in a hurry would write it. */
const PERMISSIVE: Readonly<Record<StepName, Partial<Steps>>> = {
  current: { current: () => trust },
  present: {
    present: ({ headers }) => {
      const line = Buffer.from(headers[0]?.value ?? [])
      return { scheme: 'bearer', token: line.subarray(line.indexOf(' ') + 1) } as Presented
    },
  },
  verify: {
    verify: ({ token }, believed) => {
      const jwt = parseJwt(token, { get: () => undefined, keep: () => undefined })
      const [issuer] = believed.issuers.values()
      return 'kind' in jwt || !issuer
        ? steps.verify({ token } as Presented, believed, NOW, signal)
        : ({ claims: jwt.claims, claimsJson: jwt.claimsJson, kid: jwt.header.kid, issuer } as VerifiedToken)
    },
  },
  bind: { bind: (token) => ({ token }) as BoundToken },
  standing: {
    standing: ({ token }) => {
      const { sub, tenant } = token.claims
      return {
        subject: sub,
        tenant,
        scopes: ['invoice:read'],
        roles: [],
        claimsJson: token.claimsJson,
      } as unknown as Principal
    },
  },
  admit: { admit: (principal, _trust, action) => ({ principal, action }) },
  spend: { spend: (admitted) => admitted },
  judge: { judge: ({ principal }) => ({ kind: 'allow', principal, ruleIds: ['hurry'] }) as Allowance },
}
function signal(): AbortSignal {
  return new AbortController().signal
}

describe('no step of a check is one too many', () => {
  test.each(STEPS)('%s refuses its attack, and nothing before it does', async (name) => {
    expect(await told(steps, REFUSED[name], momentFor(name))).toBe(REASON[name])
  })

  test.each(['current', 'present', 'verify', 'bind', 'spend'] as const)(
    'with a permissive %s its attack gets through',
    async (name) => {
      expect(await told({ ...steps, ...PERMISSIVE[name] }, REFUSED[name], momentFor(name))).toBe('allow')
    },
  )

  test.each(['standing', 'admit', 'judge'] as const)(
    'a permissive %s cannot make what it would have to make',
    async (name) => {
      expect(await told({ ...steps, ...PERMISSIVE[name] }, REFUSED[name], momentFor(name))).toBe('internal')
    },
  )

  test.each(STEPS)('an honest question is allowed with a permissive %s or not at all', async (name) => {
    const verdict = await told({ ...steps, ...PERMISSIVE[name] }, good, momentFor('judge'))
    expect(verdict).toBe(['standing', 'admit', 'judge'].includes(name) ? 'internal' : 'allow')
  })
})

describe('an early return that somebody deleted', () => {
  // The refusal goes on to the next step as if it were what that step expects.
  const deleted = (name: StepName): Steps => {
    const step = steps[name] as (...given: readonly unknown[]) => object | Promise<object>
    const disguise = (result: object) =>
      'kind' in result && result.kind === 'deny' ? { ...result, kind: 'overlooked' } : result
    return {
      ...steps,
      [name]: (...given: readonly unknown[]) => {
        const result = step(...given)
        return result instanceof Promise ? result.then(disguise) : disguise(result)
      },
    }
  }

  test.each(STEPS)('after %s ends in a denial and a fault, or has no way to be said', async (name) => {
    const before = faults.length
    expect(await told(deleted(name), REFUSED[name], momentFor(name))).toBe(
      name === 'current' ? 'unsayable' : 'internal',
    )
    expect(faults.length).toBe(name === 'judge' ? before : before + 1)
  })

  test.each(STEPS)('after %s changes nothing for an honest question', async (name) => {
    expect(await told(deleted(name), good, momentFor('judge'))).toBe('allow')
  })
})

describe('a step that breaks', () => {
  const breaking = (name: StepName, how: () => never): Steps => ({ ...steps, [name]: how })
  const THROWN: readonly unknown[] = [
    new Error('x'),
    new TypeError('x'),
    'text',
    undefined,
    null,
    0,
    { kind: 'allow' },
    { code: 'x' },
  ]

  test.each(STEPS)('%s that throws anything is a denial as internal', async (name) => {
    for (const thrown of THROWN) {
      const broken = breaking(name, () => {
        throw thrown
      })
      expect(await told(broken, good, momentFor('judge'))).toBe('internal')
    }
  })

  test.each(STEPS)('%s that returns nothing, or something else, is never a yes', async (name) => {
    for (const strange of [undefined, null, true, 1, 'allow', {}, [], { kind: 'allow' }]) {
      const broken = { ...steps, [name]: () => strange } as unknown as Steps
      expect(await told(broken, good, momentFor('judge'))).not.toBe('allow')
    }
  })

  test('verify that rejects is a denial as internal', async () => {
    const verify = () => Promise.reject(new Error('x'))
    expect(await told({ ...steps, verify }, good, momentFor('judge'))).toBe('internal')
  })
})

describe('a caller that leaves after a step', () => {
  const leavingAfter = (name: StepName | 'nothing', why: 'cancelled' | 'deadline') => {
    let gone: 'cancelled' | 'deadline' | undefined
    const watched = Object.fromEntries(
      STEPS.map((step) => [
        step,
        (...given: readonly unknown[]) => {
          const result: unknown = (steps[step] as (...all: readonly unknown[]) => unknown)(...given)
          if (step === name) gone = why
          return result
        },
      ]),
    ) as unknown as Steps
    const caller: Caller = { gone: () => gone, signal: () => AbortSignal.abort() }
    return { steps: { ...steps, ...watched }, caller }
  }

  test.each(STEPS.flatMap((step) => [[step, 'cancelled'] as const, [step, 'deadline'] as const]))(
    '%s is told %s',
    async (step, why) => {
      const { steps: watched, caller } = leavingAfter(step, why)
      expect(await told(watched, good, momentFor('judge'), caller)).toBe(why)
    },
  )

  test('one that stays is allowed', async () => {
    const { steps: watched, caller } = leavingAfter('nothing', 'cancelled')
    expect(await told(watched, good, momentFor('judge'), caller)).toBe('allow')
  })

  test.each(STEPS)('after %s is never told yes, whatever was asked', async (step) => {
    for (const asked of STEPS) {
      const { steps: watched, caller } = leavingAfter(step, 'cancelled')
      const reason = await told(watched, REFUSED[asked], momentFor(asked), caller)
      expect(reason satisfies string | Denial['reason']).not.toBe('allow')
    }
  })
})
