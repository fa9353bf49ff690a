import { JWKS_LIMITS, parseJwks } from '../contracts/jwks.ts'
import type { Config } from './config.ts'
import { readBounded } from './feed/bounded-file.ts'
import { readBundle } from './feed/bundle-files.ts'
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
  }
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
