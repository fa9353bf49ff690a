import { createControl } from '../../../sidecar/identity/control.ts'
import { createIssuer } from '../../../sidecar/identity/issuer.ts'
import { createJwtSvids } from '../../../sidecar/identity/jwt-svids.ts'
import { createTrustState } from '../../../sidecar/identity/trust.ts'
import { createWorkload } from '../../../sidecar/identity/workload.ts'
import { until } from '../../fixtures/process.ts'
import type { World } from './identity-world.ts'

// All parts of an identity, running, for tests that look at one of them.

export function identitiesIn({ settings, ports, lifetime }: Pick<World, 'settings' | 'ports' | 'lifetime'>) {
  const trust = createTrustState(settings)
  const issuer = createIssuer(settings, { trust: trust.current, wall: ports.wall })
  const control = createControl(settings, { ...ports, issuer, trust })
  const workload = createWorkload({ ...ports, issuer, control, trust })
  const jwt = createJwtSvids({ ...ports, issuer, control, trust })
  void control.run(lifetime)
  void workload.run(lifetime)
  return { trust, issuer, control, workload, jwt }
}

/** Waits for so many reports of an event, of one kind of identity when it is named. */
export function reported(world: World, event: string, count: number, kind?: 'control' | 'workload') {
  const found = () =>
    world.reports.filter((one) => one.event === event && (kind === undefined || one.facts['kind'] === kind))
  return until(`${count} times ${event} ${kind ?? ''}`, () => (found().length >= count ? found() : undefined))
}

export const issued = (world: World, kind: 'control' | 'workload', count: number) =>
  reported(world, 'svid_issued', count, kind)
