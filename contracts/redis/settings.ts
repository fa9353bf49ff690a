/** How Redis is reached, as an administrator states it. */
export interface RedisSettings {
  readonly mode: 'standalone' | 'sentinel' | 'cluster'
  /** The server, the sentinels, or some nodes of the cluster. */
  readonly nodes: readonly RedisNode[]
  /** Of `sentinel` only. */
  readonly sentinel: SentinelSettings | undefined
  readonly tls: RedisTls | undefined
  /** User of the ACL; without it the default user. */
  readonly username: string | undefined
  /** Read anew for each connection, so that a rotated password needs no restart. Without it the TLS certificate is the credential. */
  readonly passwordFile: string | undefined
  /** Begins every key; ends without a colon. */
  readonly keyPrefix: string
  /** Replicas that must have a change to a refresh family before it is told; 0 where there are none. */
  readonly replicas: number
}

/** Which master set is asked for, and how the sentinels know us; they have users of their own. */
export interface SentinelSettings {
  readonly name: string
  readonly username: string | undefined
  readonly passwordFile: string | undefined
}

export interface RedisNode {
  readonly host: string
  readonly port: number
}

/** Files are read anew for each connection, as a mounted certificate is replaced while we run. */
export interface RedisTls {
  /** Who signs the certificates of the servers: a file, or PEM itself. Without it the well-known authorities. */
  readonly ca: { readonly file: string } | { readonly pem: string } | undefined
  /** The workload's own SVID (`live`), two files, or nothing. */
  readonly client: 'live' | { readonly certFile: string; readonly keyFile: string } | undefined
  /** The name that the server's certificate must have, when it is not the host's. */
  readonly serverName: string | undefined
}

/**
 * The commands that are ever sent. All others, scripts, functions and keyspace-wide ones among them, have no spelling here.
 * The ACL user needs exactly these (`aclFor`); INFO and CLUSTER SLOTS tell what server it is, ROLE and CONFIG are not needed.
 */
export const COMMANDS = [
  'get',
  'set',
  'exists',
  'del',
  'pexpireat',
  'hget',
  'hmget',
  'hset',
  'hsetnx',
  'hdel',
  'hlen',
  'xadd',
  'xrange',
  'xrevrange',
  'xlen',
  'xtrim',
  'xdel',
  'multi',
  'exec',
  'wait',
  'ping',
  'info',
] as const
export type CommandName = (typeof COMMANDS)[number]
export type Argument = string | number | Buffer
export type Command = readonly [CommandName, ...Argument[]]

/** The line for `ACL SETUSER` or an ACL file: nothing of `@scripting`, and of `@dangerous` only INFO. `ASKING` is for moving slots. */
export function aclFor(user: string, keyPrefix: string): string {
  const commands = COMMANDS.map((name) => `+${name}`).join(' ')
  return `${user} on resetkeys ~${keyPrefix}:* resetchannels -@all +auth +asking +cluster|slots ${commands}`
}

/** Milliseconds, but for the counts. One list, so that none is left to a library's default. */
export interface RedisLimits {
  readonly commandMs: number
  readonly connectMs: number
  /** A connection that owes an answer for so long is dead. */
  readonly socketMs: number
  /** Failures in a row after which a server is given up until a new connection has proven it. */
  readonly failures: number
  readonly redirections: number
  /** Between two looks at what server it is. */
  readonly heartbeatMs: number
  /** Before the first and, doubling, any later attempt to connect. */
  readonly retryMs: readonly [first: number, most: number]
  /** Commands under way on one connection. */
  readonly pending: number
}

export const REDIS_LIMITS: RedisLimits = {
  commandMs: 50,
  connectMs: 1_000,
  socketMs: 2_000,
  failures: 5,
  redirections: 3,
  heartbeatMs: 1_000,
  retryMs: [100, 2_000],
  pending: 4_096,
}
