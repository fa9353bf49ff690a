// Keys that sign policy bundles: what is one, and what a signature must be.
import { generateKeyPairSync, sign } from 'node:crypto'
import { expect, test } from 'vitest'
import type { BundleKey } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import { createSigners } from '../../../sidecar/policy/signature.ts'
import { bundleKey } from '../trust/fed-world.ts'

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const key = bundleKey(pair.publicKey)
const digest = Buffer.alloc(32, 7)
const value = sign('sha256', digest, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' })

function trusting(...keys: readonly BundleKey[]) {
  const signers = createSigners()
  const use = signers.read(keys)
  if (typeof use !== 'function') throw new Error(use.join())
  use()
  return signers
}

test('a signature by a key of the trust bundle vouches for the digest, and for no other', () => {
  const signers = trusting(key)
  expect(signers.problem({ keyId: key.id, value }, digest)).toBe('')
  expect(signers.problem({ keyId: key.id, value }, Buffer.alloc(32, 8))).toMatch(/does not fit/)
})

test.each<readonly [what: string, keyId: string, bytes: Buffer, problem: RegExp]>([
  ['of an unknown key', 'nobody', value, /key "nobody" is not in the trust bundle/],
  ['in ASN.1', key.id, sign('sha256', digest, pair.privateKey), /64 bytes/],
  ['of zeros', key.id, Buffer.alloc(64), /does not fit/],
  [
    'over the digest without hashing it',
    key.id,
    sign(null, digest, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' }),
    /does not fit|^$/,
  ],
  [
    'with a bit flipped',
    key.id,
    Buffer.from(value.map((byte, i) => (i === 5 ? byte ^ 1 : byte))),
    /does not fit/,
  ],
  ['that is empty', key.id, Buffer.alloc(0), /64 bytes/],
])('a signature %s does not', (_what, keyId, bytes, problem) => {
  expect(trusting(key).problem({ keyId, value: bytes }, digest)).toMatch(problem)
})

test('before the first trust bundle nothing is signed by anybody', () => {
  expect(createSigners().problem({ keyId: key.id, value }, digest)).toMatch(/which has 0 keys/)
  expect(createSigners().problem(undefined, digest)).toMatch(/unset/)
})

test('keys are replaced as a whole, and only when they are taken into use', () => {
  const signers = trusting(key)
  const other = bundleKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)
  const use = signers.read([other])
  expect(signers.problem({ keyId: key.id, value }, digest)).toBe('')
  if (typeof use === 'function') use()
  expect(signers.problem({ keyId: key.id, value }, digest)).toMatch(/is not in the trust bundle/)
})

const p384 = bundleKey(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey)
const rsa = bundleKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)
test.each<readonly [what: string, keys: readonly BundleKey[], problem: RegExp]>([
  ['none', [], /1 to 8/],
  ['nine', Array.from({ length: 9 }, () => key), /1 to 8/],
  ['another curve', [key, p384], /bundle_keys\[1\]\.spki: must be an EC P-256 key/],
  ['RSA', [rsa], /bundle_keys\[0\]\.spki: must be/],
  ['no key at all', [{ id: 'x', spki: Buffer.from('x') }], /bundle_keys\[0\]\.id/],
  ['an id that is not the key’s', [{ ...key, id: p384.id }], /bundle_keys\[0\]\.id/],
])('%s: refused, and the keys in use stay', (_what, keys, problem) => {
  const signers = trusting(key)
  const read = signers.read(keys)
  expect(typeof read === 'function' ? '' : read.join()).toMatch(problem)
  expect(signers.problem({ keyId: key.id, value }, digest)).toBe('')
})
