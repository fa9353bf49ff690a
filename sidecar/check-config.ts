import { JWKS_LIMITS, parseJwks } from '../contracts/jwks.ts'
import { aclFor } from '../contracts/redis/settings.ts'
import type { Config } from './config.ts'
import { explainSharing, explainTerms, explainTokens } from './config-explained.ts'
import type { InjectedConfig } from './config-injected.ts'
import { readBounded } from './feed/bounded-file.ts'
import { readBundle } from './feed/bundle-files.ts'
import { readPodToken } from './identity/token-file.ts'
import { APPLICATION_ENTRYPOINT, engineLimits, prepareBundle } from './policy/bundle.ts'
import type { StandaloneIssuer } from './settings.ts'

/** `--check`: tries everything that needs no network and says what was found. Resolves to whether the sidecar could start well. */
export async function checkConfig(config: Config, say: (line: string) => void): Promise<boolean> {
  const { trust } = config
  const listeners = [config.unix?.path, config.tcp && `${config.tcp.host}:${config.tcp.port}`].filter(Boolean)
  say(`listens on ${listeners.join(' and ')}; admin on ${config.admin.host}:${config.admin.port}`)
  say(`audience ${trust.audience}${trust.exclusiveAudience ? ' (exclusive)' : ''}`)

  let sound = true
  for (const issuer of trust.issuers) {
    const problem = await keysProblem(issuer)
    sound &&= !problem
    say(`issuer ${issuer.issuer}: ${[...issuer.algorithms].join(', ')}; ${problem || keysFrom(issuer)}`)
    for (const line of explainTerms(issuer)) say(`  ${line}`)
  }
  for (const line of explainTokens(trust)) say(line)
  const alone = explainSharing(trust, config.redis !== undefined)
  if (alone) say(`note: ${alone}`)
  if (config.redis)
    say(
      `redis ${config.redis.mode}: ACL SETUSER ${aclFor(config.redis.username ?? 'default', config.redis.keyPrefix)}`,
    )
  try {
    const files = await readBundle(trust.policyPath)
    const { revision } = await prepareBundle(
      files,
      APPLICATION_ENTRYPOINT,
      engineLimits(config.limits.policyMemoryBytes),
    )
    say(`policy ${revision}: activated and self-tested`)
  } catch (cause) {
    sound = false
    say(`policy ${trust.policyPath}: REFUSED: ${cause instanceof Error ? cause.message : 'unknown'}`)
  }
  say(sound ? 'ok' : 'not ok')
  return sound
}

/** The same in injected mode: what was told, and whether the token is there. Nothing is asked of the operator. */
export async function checkInjected(config: InjectedConfig, say: (line: string) => void): Promise<boolean> {
  const { identity, unix, tcp, admin, workloadApi } = config
  const { pod, issuer, feed } = identity
  say(`pod ${pod.namespace}/${pod.name} (${pod.uid}), service account ${pod.serviceAccount}`)
  say(`listens on ${unix.path} and ${tcp?.host}:${tcp?.port}; admin on ${admin.host}:${admin.port}`)
  say(`identities on ${workloadApi.path}, of trust domain ${identity.trustDomain}`)
  say(
    `issuer ${issuer.host}:${issuer.port}, feed ${feed.host}:${feed.port}, ${identity.anchors.length} trust anchor(s)`,
  )
  const token = await readPodToken(identity.tokenFile, identity.audience).catch((cause: Error) => cause)
  const sound = typeof token === 'string'
  say(sound ? `token ${identity.tokenFile}: for ${identity.audience}` : `token: REFUSED: ${token.message}`)
  say(sound ? 'ok' : 'not ok')
  return sound
}

function keysFrom({ location }: StandaloneIssuer): string {
  return location.kind === 'file' ? `keys from ${location.path}` : `keys will be fetched from ${location.uri}`
}

async function keysProblem({ location, algorithms }: StandaloneIssuer): Promise<string> {
  if (location.kind !== 'file') return ''
  const document = await readBounded(location.path, JWKS_LIMITS.bytes).catch(() => undefined)
  if (!document) return `REFUSED: ${location.path} cannot be read`
  const parsed = parseJwks(document, algorithms)
  if (!parsed.ok) return `REFUSED: ${location.path}: ${parsed.why}`
  const [first] = parsed.refused
  return parsed.keys.length > 0
    ? ''
    : `REFUSED: ${location.path}: no usable key${first ? ` (${first.why})` : ''}`
}
