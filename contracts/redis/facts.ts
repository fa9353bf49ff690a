import type { Trouble } from './trouble.ts'

/** What a server says about itself. */
export interface ServerFacts {
  /** Changes whenever another history of writes begins: a promoted replica, a restart, another server (`master_replid`). */
  readonly history: string
  readonly role: string
  readonly evictionPolicy: string
  readonly loading: boolean
  readonly replicas: number
}

/** From INFO's server, replication, memory and persistence sections. */
export function parseFacts(info: string): ServerFacts {
  const fields = new Map<string, string>()
  for (const line of info.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  const field = (name: string) => fields.get(name) ?? ''
  return {
    history: field('master_replid'),
    role: field('role'),
    evictionPolicy: field('maxmemory_policy'),
    loading: field('loading') === '1',
    replicas: Number(field('connected_slaves')) || 0,
  }
}

/** Why a server may not be asked to remember anything; what it does not say is held against it. */
export function unfit({ history, role, evictionPolicy, loading }: ServerFacts): Trouble | undefined {
  if (loading) return 'loading'
  if (role !== 'master') return 'not_master'
  // Under any other policy Redis forgets a spent proof or a used refresh token to make room, silently.
  if (evictionPolicy !== 'noeviction') return 'evicting'
  return /^[0-9a-f]{40}$/.test(history) ? undefined : 'other'
}
