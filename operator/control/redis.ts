import { open } from 'node:fs/promises'
import type { LiveIdentity } from '../../contracts/redis/credentials.ts'
import type { RedisSettings } from '../../contracts/redis/settings.ts'
import { createRedis } from '../../contracts/redis.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { createSegmentStore } from '../ledger/log-store.ts'
import { createRedisLog, type RedisLog } from '../ledger/redis-log.ts'
import { type MeshIdentity, pemOf } from '../mesh/identity.ts'
import type { Clocks, Report } from '../ports.ts'

export interface SharedLog {
  readonly logs: RedisLog
  /** Keeps connections and reads on until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
}

export interface SharedLogNeeds extends Clocks {
  readonly report: Report
  readonly ledger: Ledger
  /** Our own SVID, while there is one. */
  readonly identity: () => MeshIdentity | undefined
  readonly trustDomain: string
}

const FILE_BYTES = 64 * 1024
/** Whole logs are read and written at times, which takes longer than a check may. */
const LIMITS = { commandMs: 2_000, socketMs: 5_000 }

/** The revocation log in Redis. What lay in segments before is where it begins. */
export function createSharedLog(settings: RedisSettings, needs: SharedLogNeeds): SharedLog {
  const { report, ledger, identity, trustDomain } = needs
  const redis = createRedis(
    settings,
    {
      ...needs,
      readFile: readBounded,
      identity: () => liveOf(identity()),
      report: ({ address, trouble }) => report('redis', { address, trouble: trouble ?? 'none' }),
    },
    LIMITS,
  )
  const key = `${settings.keyPrefix}:{revocations/${trustDomain}}`
  const logs = createRedisLog({ ...needs, redis, key, before: createSegmentStore(ledger).current })
  return {
    logs,
    run: async (signal) => void (await Promise.all([redis.run(signal), logs.run(signal)])),
  }
}

function liveOf(identity: MeshIdentity | undefined): LiveIdentity | undefined {
  if (!identity) return undefined
  const key = identity.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { cert: identity.chain.map(pemOf).join(''), key }
}

async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(FILE_BYTES + 1), 0, FILE_BYTES + 1, 0)
    if (bytesRead > FILE_BYTES) throw new Error(`${path}: larger than ${FILE_BYTES} bytes`)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}
