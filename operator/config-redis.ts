import type { RedisNode, RedisSettings } from '../contracts/redis/settings.ts'

/** Arguments about the Redis that holds the revocation log. Without `redis` it lies in the database of the cluster. */
export const REDIS_OPTIONS = {
  redis: { type: 'string' },
  'redis-mode': { type: 'string', default: 'standalone' },
  'redis-sentinel-name': { type: 'string' },
  'redis-username': { type: 'string' },
  'redis-password-file': { type: 'string' },
  'redis-ca-file': { type: 'string' },
  'redis-tls': { type: 'string', default: 'required' },
  'redis-key-prefix': { type: 'string', default: 'portcullis' },
} as const

export type RedisValues = Readonly<Partial<Record<keyof typeof REDIS_OPTIONS, string>>>

const NODE = /^([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?):([1-9]\d{0,4})$/
const NAME = /^[A-Za-z0-9._-]{1,64}$/
const MODES = ['standalone', 'sentinel', 'cluster'] as const

/** undefined without Redis; whatever is wrong is added to the problems. */
export function readRedis(values: RedisValues, problems: string[]): RedisSettings | undefined {
  if (values.redis === undefined) return undefined
  const nodes = values.redis.split(',').flatMap((text): RedisNode[] => {
    const [, host, port] = NODE.exec(text) ?? []
    if (!host || !port || Number(port) > 65_535) {
      problems.push(`--redis: ${JSON.stringify(text)} must be HOST:PORT`)
      return []
    }
    return [{ host, port: Number(port) }]
  })
  const mode = MODES.find((one) => one === values['redis-mode'])
  if (!mode) problems.push(`--redis-mode: must be one of ${MODES.join(', ')}`)
  if (mode === 'standalone' && nodes.length > 1) problems.push('--redis: standalone is one server')
  const name = values['redis-sentinel-name']
  if ((mode === 'sentinel') !== (name !== undefined))
    problems.push('--redis-sentinel-name: goes with --redis-mode=sentinel and only with it')
  const keyPrefix = values['redis-key-prefix'] ?? ''
  if (!NAME.test(keyPrefix))
    problems.push('--redis-key-prefix: must be 1 to 64 letters, digits, ".", "_" or "-"')
  const tls = values['redis-tls']
  if (tls !== 'required' && tls !== 'off') problems.push('--redis-tls: must be required or off')
  const caFile = values['redis-ca-file']
  const ca = caFile === undefined ? undefined : { file: caFile }
  return {
    mode: mode ?? 'standalone',
    nodes,
    sentinel: name === undefined ? undefined : { name, username: undefined, passwordFile: undefined },
    tls: tls === 'off' ? undefined : { ca, client: 'live', serverName: undefined },
    username: values['redis-username'],
    passwordFile: values['redis-password-file'],
    keyPrefix,
    replicas: 0,
  }
}
