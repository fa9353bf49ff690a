import type { RedisSettings, RedisTls } from './settings.ts'

/** What a connection proves itself with, as of the moment it is made. */
export interface Credentials {
  readonly username: string | undefined
  readonly password: string | undefined
  readonly tls: TlsMaterial | undefined
}

/** For `tls.connect`. */
export interface TlsMaterial {
  readonly minVersion: 'TLSv1.2'
  readonly rejectUnauthorized: true
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly servername?: string
}

/** An own certificate that changes while we run: the workload's SVID with its key, PEM. */
export interface LiveIdentity {
  readonly cert: string
  readonly key: string
}

export interface CredentialNeeds {
  /** Bytes of a file, at most 64 KiB; rejects when it cannot be read. */
  readonly readFile: (path: string) => Promise<Buffer>
  /** The identity of the moment; `undefined` while there is none. */
  readonly identity?: () => LiveIdentity | undefined
}

export type Proof = Pick<RedisSettings, 'username' | 'passwordFile' | 'tls'>

/** Everything is read anew, so that whatever was rotated counts from the next connection on. `undefined`: something cannot be had. */
export async function readCredentials(
  settings: Proof,
  needs: CredentialNeeds,
): Promise<Credentials | undefined> {
  try {
    const password =
      settings.passwordFile === undefined ? undefined : await readSecret(settings.passwordFile, needs)
    const tls = settings.tls && (await readTls(settings.tls, needs))
    if (settings.tls && !tls) return undefined
    return { username: settings.username, password, tls }
  } catch {
    return undefined
  }
}

// One trailing line break is an editor's, not the password's.
async function readSecret(path: string, { readFile }: CredentialNeeds): Promise<string> {
  const text = (await readFile(path)).toString('utf8').replace(/\r?\n$/, '')
  if (text === '') throw new Error('empty password file')
  return text
}

async function readTls(tls: RedisTls, needs: CredentialNeeds): Promise<TlsMaterial | undefined> {
  const { readFile, identity } = needs
  const own = tls.client === 'live' ? identity?.() : await pairOf(tls.client, readFile)
  if (tls.client !== undefined && !own) return undefined
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    ...(tls.ca === undefined ? {} : { ca: 'pem' in tls.ca ? tls.ca.pem : await readFile(tls.ca.file) }),
    ...(own ? { cert: own.cert, key: own.key } : {}),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  }
}

async function pairOf(
  files: { readonly certFile: string; readonly keyFile: string } | undefined,
  readFile: CredentialNeeds['readFile'],
): Promise<{ readonly cert: Buffer; readonly key: Buffer } | undefined> {
  if (!files) return undefined
  const [cert, key] = await Promise.all([readFile(files.certFile), readFile(files.keyFile)])
  return { cert, key }
}
