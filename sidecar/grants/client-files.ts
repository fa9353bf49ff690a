import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { parseSpiffeId } from '../../contracts/spiffe.ts'
import type { ClientCredential, Monotonic, OwnCredential, Report } from '../ports.ts'
import type { ClientFiles } from '../settings.ts'

/** How often the files are looked at, milliseconds, and how large they may be. */
const LOOK_MS = 1_000
const MAX_BYTES = 64 * 1024

/**
 * The workload's certificate and key from two files, read again when they change: whoever renews them (a mounted secret, an agent) restarts
 * nothing. While the two do not belong together, which happens between two writes, the pair before stays in use.
 */
export function createClientFiles(files: ClientFiles, now: Monotonic, report: Report): OwnCredential {
  let credential: ClientCredential | undefined
  let seen = ''
  let lookedAt = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | undefined

  const look = async (): Promise<void> => {
    try {
      const marks = await Promise.all([markOf(files.certificate), markOf(files.key)])
      const mark = marks.join('/')
      if (mark === seen) return
      credential = credentialOf(await readFile(files.certificate, 'utf8'), await readFile(files.key, 'utf8'))
      seen = mark
    } catch (cause) {
      report('client_certificate_unusable', { problem: cause instanceof Error ? cause.message : 'unknown' })
    }
  }
  return async () => {
    if (!looking && now() - lookedAt >= LOOK_MS) {
      lookedAt = now()
      looking = look().finally(() => {
        looking = undefined
      })
    }
    await looking
    return credential
  }
}

async function markOf(path: string): Promise<string> {
  const { size, mtimeMs, ino } = await stat(path)
  if (size > MAX_BYTES) throw new Error(`${path}: larger than ${MAX_BYTES} bytes`)
  return `${size}.${mtimeMs}.${ino}`
}

// What OpenSSL says of a broken key could quote it; that it is broken is enough.
function credentialOf(cert: string, key: string): ClientCredential {
  const leaf = parsed(() => new X509Certificate(cert), 'the client certificate is no PEM certificate')
  const privateKey = parsed(() => createPrivateKey(key), 'the client key is no PEM private key')
  if (!leaf.checkPrivateKey(privateKey))
    throw new Error('the client certificate and the client key do not belong together')
  return { spiffeId: spiffeIdOf(leaf), privateKey, cert, key }
}

function parsed<T>(parse: () => T, problem: string): T {
  try {
    return parse()
  } catch {
    throw new Error(problem)
  }
}

// X509-SVID section 2: exactly one URI name.
function spiffeIdOf({ subjectAltName = '' }: X509Certificate): string {
  const uris = subjectAltName.split(', ').filter((name) => name.startsWith('URI:'))
  const [uri = ''] = uris
  return uris.length === 1 ? (parseSpiffeId(uri.slice('URI:'.length))?.uri ?? '') : ''
}
