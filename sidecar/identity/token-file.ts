import { open } from 'node:fs/promises'

const TOKEN_BYTES = 8 * 1024

/**
 * The pod's projected service account token, read anew: the kubelet replaces it long before it expires. Throws when it cannot be read
 * or is meant for somebody else than our issuer, so that a wrong mount never sends a token of the API server away. The message
 * never holds any part of the token but its audiences.
 */
export async function readPodToken(path: string, audience: string): Promise<string> {
  const text = await readBounded(path)
  const audiences = audiencesOf(text)
  if (!audiences)
    throw new Error(`${path} is not a projected service account token; look at the pod's volumes`)
  if (audiences.length !== 1 || audiences[0] !== audience) {
    const found = JSON.stringify(audiences).slice(0, 128)
    throw new Error(`${path} is for audience ${found}, not ${audience}; look at the pod's projected volume`)
  }
  return text
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`${path} cannot be read (${cause.code ?? 'failed'}); look at the pod's volumes`)
  })
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(TOKEN_BYTES + 1), 0, TOKEN_BYTES + 1, 0)
    if (bytesRead > TOKEN_BYTES) throw new Error(`${path} is larger than ${TOKEN_BYTES} bytes`)
    return buffer.toString('latin1', 0, bytesRead).trim()
  } finally {
    await file.close()
  }
}

function audiencesOf(token: string): readonly unknown[] | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
    const aud = (claims as { aud?: unknown }).aud
    return Array.isArray(aud) ? aud : [aud]
  } catch {
    return undefined
  }
}
