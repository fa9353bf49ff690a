import { type Connection, connect } from './connection.ts'
import { type CredentialNeeds, type Proof, readCredentials } from './credentials.ts'
import type { RedisLimits, RedisNode, RedisSettings } from './settings.ts'
import { parseSlots, type SlotMap } from './slots.ts'
import type { Reply } from './trouble.ts'

/** What any connection is made from. */
export interface Means {
  readonly settings: RedisSettings
  readonly limits: RedisLimits
  readonly needs: CredentialNeeds
}

/**
 * The master's address from the first sentinel that knows it. Whether it is the master is then asked of the server itself, because a
 * sentinel may be behind. These few lines stand here instead of the library's Sentinel and Cluster clients because those keep the
 * credentials of the first time, send again what may have been executed, and do not say which server answered.
 */
export async function askSentinels(means: Means, signal: AbortSignal): Promise<RedisNode | undefined> {
  const { sentinel, tls, nodes } = means.settings
  if (!sentinel) return undefined
  const proof = { tls, username: sentinel.username, passwordFile: sentinel.passwordFile }
  for (const node of nodes) {
    const ask = async (connection: Connection): Promise<RedisNode | undefined> => {
      const sent = await connection.send([['sentinel', 'get-master-addr-by-name', sentinel.name]], signal)
      return sent.ok ? addressOf(sent.replies[0]) : undefined
    }
    const found = await briefly(means, { node, proof, ask }, signal)
    if (found) return found
  }
  return undefined
}

function addressOf(reply: Reply): RedisNode | undefined {
  if (!Array.isArray(reply)) return undefined
  const [host, port]: readonly Reply[] = reply
  if (!Buffer.isBuffer(host) || !Buffer.isBuffer(port)) return undefined
  return { host: host.toString('latin1'), port: Number(port.toString('latin1')) }
}

/** The slots as the first of these nodes sees them that has any. */
export async function askForSlots(
  means: Means,
  nodes: readonly RedisNode[],
  signal: AbortSignal,
): Promise<SlotMap | undefined> {
  for (const node of nodes) {
    const ask = (connection: Connection) => slotsFrom(connection, signal)
    const found = await briefly(means, { node, proof: means.settings, ask }, signal)
    if (found) return found
  }
  return undefined
}

export async function slotsFrom(connection: Connection, signal: AbortSignal): Promise<SlotMap | undefined> {
  const sent = await connection.send([['cluster', 'slots']], signal)
  return sent.ok ? parseSlots(sent.replies[0], connection.node) : undefined
}

interface Errand<T> {
  readonly node: RedisNode
  readonly proof: Proof
  readonly ask: (connection: Connection) => Promise<T | undefined>
}

async function briefly<T>(means: Means, errand: Errand<T>, signal: AbortSignal): Promise<T | undefined> {
  const credentials = await readCredentials(errand.proof, means.needs)
  if (!credentials || signal.aborted) return undefined
  const made = await connect({ node: errand.node, credentials, limits: means.limits, fit: 'any' }, signal)
  if (!made.ok) return undefined
  using connection = made.connection
  return await errand.ask(connection)
}
