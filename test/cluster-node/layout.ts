import { homedir } from 'node:os'
import { join } from 'node:path'

// Where a cluster keeps its files and which addresses are its own. What is global to the machine (addresses, the
// interface, cgroups) goes by slot; what belongs to one user (files) goes by name.

export interface Layout {
  readonly name: string
  readonly slot: number
  readonly state: string
  readonly kubeconfig: string
  /** The node's end of the pair, on which NodePorts and the API server answer. */
  readonly nodeAddress: string
  /** The host's end: tests may serve stubs to pods on it. */
  readonly hostAddress: string
  readonly podCidr: string
  readonly hostInterface: string
}

export const SLOTS = 16
export const DNS_ADDRESS = '10.96.0.10'
/** Everything a cluster routes; never to leave the machine. */
export const RANGES = ['10.213.0.0/16', '10.244.0.0/16', '10.96.0.0/16'] as const

export function layoutOf(name: string, slot: number): Layout {
  if (!/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name)) {
    throw new Error(`'${name}' is no name for a cluster: 1 to 32 of a-z, 0-9 and '-'`)
  }
  if (!Number.isInteger(slot) || slot < 0 || slot >= SLOTS) {
    throw new Error(`slot ${slot} is not among 0 to ${SLOTS - 1}`)
  }
  const state = join(stateDirectory(), name)
  return {
    name,
    slot,
    state,
    kubeconfig: join(state, 'admin.kubeconfig'),
    nodeAddress: `10.213.${slot}.2`,
    hostAddress: `10.213.${slot}.1`,
    podCidr: `10.244.${slot}.0/24`,
    hostInterface: `pc${slot}-h`,
  }
}

export function stateDirectory(): string {
  const base = process.env['XDG_STATE_HOME'] || join(homedir(), '.local/state')
  return join(base, 'portcullis/cluster')
}
