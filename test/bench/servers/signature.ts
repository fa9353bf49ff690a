import { createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

// The other floor: nothing but crypto.verify with a prepared key, on distinct tokens, in one process. Prints
// how many were verified, how many were genuine, and the CPU time in microseconds.

const { values } = parseArgs({
  options: { jwk: { type: 'string' }, tokens: { type: 'string' }, ms: { type: 'string' } },
})
const { jwk = '', tokens = '', ms = '0' } = values
const key = createPublicKey({ key: JSON.parse(readFileSync(jwk, 'utf8')) as JsonWebKey, format: 'jwk' })
const prepared = readFileSync(tokens, 'utf8')
  .split('\n')
  .map((token) => {
    const end = token.lastIndexOf('.')
    return {
      signed: Buffer.from(token.slice(0, end)),
      signature: Buffer.from(token.slice(end + 1), 'base64url'),
    }
  })

verifyFor(Number(ms) / 4)
process.stdout.write(JSON.stringify(verifyFor(Number(ms))))

function verifyFor(forMs: number): {
  readonly count: number
  readonly genuine: number
  readonly micros: number
} {
  const until = performance.now() + forMs
  const before = process.cpuUsage()
  let count = 0
  let genuine = 0
  while (performance.now() < until) {
    for (const { signed, signature } of prepared) {
      if (verify('sha256', signed, key, signature)) genuine++
      count++
      if (count % 100 === 0 && performance.now() >= until) break
    }
  }
  const { user, system } = process.cpuUsage(before)
  return { count, genuine, micros: user + system }
}
