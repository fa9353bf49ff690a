import type { RedisNode, RedisSettings, RedisTls } from '../contracts/redis/settings.ts'
import {
  complain,
  type Fields,
  fromBase,
  type Reader,
  readInteger,
  readList,
  readObject,
  readText,
} from './config-reader.ts'

/** Where relative paths begin, and whether certificates are files (standalone) or the workload's own SVID (injected). */
export interface RedisGround {
  readonly base: string
  readonly client: 'files' | 'live'
}

const MEMBERS = [
  'mode',
  'nodes',
  'sentinelName',
  'sentinelUsername',
  'sentinelPasswordFile',
  'username',
  'passwordFile',
  'keyPrefix',
  'replicas',
  'tls',
]
const MODES = ['standalone', 'sentinel', 'cluster'] as const

/**
 * The section `redis` of the configuration file, and the argument `--redis` in JSON with the same members: the Redis that all replicas share,
 * for used DPoP proofs and refresh families. `undefined` when it is absent: everything is then kept in this process.
 */
export function readRedis(reader: Reader, value: unknown, ground: RedisGround): RedisSettings | undefined {
  if (value === undefined) return undefined
  const fields = readObject(reader, value, 'redis', MEMBERS)
  const mode = MODES.find((one) => one === fields['mode'])
  if (!mode) return complain(reader, 'redis.mode', `required: one of ${MODES.join(', ')}`)
  const nodes = readNodes(reader, fields['nodes'], mode === 'standalone' ? 1 : MOST_NODES)
  const sentinel = readSentinel(reader, fields, mode === 'sentinel', ground)
  const keyPrefix = readPrefix(reader, fields['keyPrefix'] ?? 'portcullis')
  const { text, file } = section(reader, fields, 'redis', ground.base)
  const username = text('username', 'a user of the ACL')
  const passwordFile = file('passwordFile')
  const replicas = readInteger(reader, fields['replicas'], 'redis.replicas', { from: 0, to: 8, fallback: 0 })
  const tls = readTls(reader, fields['tls'], ground)
  if (username !== undefined && passwordFile === undefined && !tls?.client)
    complain(
      reader,
      'redis.passwordFile',
      'required with username, unless a client certificate proves who we are',
    )
  return { mode, nodes, sentinel, tls, username, passwordFile, keyPrefix, replicas }
}

const MOST_NODES = 16

function readNodes(reader: Reader, value: unknown, most: number): readonly RedisNode[] {
  const list = readList(reader, value, 'redis.nodes', { what: 'HOST:PORT', most })
  return list.flatMap((one, index) => {
    const match =
      typeof one === 'string' ? /^(?:\[([0-9a-f:]+)\]|([a-z0-9.-]{1,253})):(\d{1,5})$/i.exec(one) : null
    const host = match?.[1] ?? match?.[2] ?? ''
    const port = Number(match?.[3])
    if (host && port > 0 && port <= 65_535) return [{ host, port }]
    complain(reader, `redis.nodes[${index}]`, 'must be HOST:PORT, such as redis.shop.svc:6379')
    return []
  })
}

function readSentinel(
  reader: Reader,
  fields: Fields,
  wanted: boolean,
  ground: RedisGround,
): RedisSettings['sentinel'] {
  const { text, file } = section(reader, fields, 'redis', ground.base)
  const username = text('sentinelUsername', 'a user of the sentinels')
  const passwordFile = file('sentinelPasswordFile')
  if (!wanted) {
    if (fields['sentinelName'] !== undefined)
      complain(reader, 'redis.sentinelName', 'goes with mode sentinel only')
    return undefined
  }
  const name = readText(reader, fields['sentinelName'], 'redis.sentinelName', 'the name of the master set')
  return name === undefined ? undefined : { name, username, passwordFile }
}

// A brace in it would decide about slots, and a colon about whose key it is.
function readPrefix(reader: Reader, value: unknown): string {
  if (typeof value === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(value)) return value
  complain(reader, 'redis.keyPrefix', 'must be 1 to 64 letters, digits, ".", "_" or "-"')
  return ''
}

function readTls(reader: Reader, value: unknown, ground: RedisGround): RedisTls | undefined {
  if (value === undefined) return undefined
  const known = ground.client === 'live' ? ['caPem', 'serverName'] : ['ca', 'cert', 'key', 'serverName']
  const fields = readObject(reader, value, 'redis.tls', known)
  const { text, file } = section(reader, fields, 'redis.tls', ground.base)
  const serverName = text('serverName', "the name in the servers' certificates")
  if (ground.client === 'live') {
    const pem = fields['caPem']
    if (pem !== undefined && typeof pem !== 'string')
      complain(reader, 'redis.tls.caPem', 'must be text: certificates in PEM')
    return { ca: typeof pem === 'string' ? { pem } : undefined, client: 'live', serverName }
  }
  const ca = file('ca')
  const certFile = file('cert')
  const keyFile = file('key')
  if ((certFile === undefined) !== (keyFile === undefined))
    complain(reader, 'redis.tls', 'cert and key go together: give both, or neither')
  const client = certFile !== undefined && keyFile !== undefined ? { certFile, keyFile } : undefined
  return { ca: ca === undefined ? undefined : { file: ca }, client, serverName }
}

// Optional members of a section, which is named in complaints.
function section(reader: Reader, fields: Fields, at: string, base: string) {
  const text = (name: string, what: string): string | undefined =>
    fields[name] === undefined ? undefined : readText(reader, fields[name], `${at}.${name}`, what)
  const file = (name: string): string | undefined => {
    const path = text(name, 'a file')
    return path === undefined ? undefined : fromBase(path, base)
  }
  return { text, file }
}
