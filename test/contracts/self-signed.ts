import { generateKeyPairSync, sign } from 'node:crypto'

/** A key and a self-signed X.509 v3 certificate (RFC 5280 section 4.1), made anew so that no private key is committed. */
export function selfSigned(): { readonly key: string; readonly cert: string; readonly der: Buffer } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(Buffer.from('06082a8648ce3d040302', 'hex'))
  const name = sequence(
    tagged(0x31, sequence(Buffer.from('0603550403', 'hex'), tagged(0x0c, Buffer.from('test')))),
  )
  const validity = sequence(
    tagged(0x17, Buffer.from('250101000000Z')),
    tagged(0x17, Buffer.from('491231235959Z')),
  )
  const version = tagged(0xa0, Buffer.from('020102', 'hex'))
  const serial = Buffer.from('020101', 'hex')
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const tbs = sequence(version, serial, algorithm, name, validity, name, spki)
  const signature = tagged(0x03, Buffer.concat([Buffer.of(0), sign('sha256', tbs, privateKey)]))
  const der = sequence(tbs, algorithm, signature)
  const cert = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert, der }
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts))
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
