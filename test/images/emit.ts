import { execFileSync } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../cluster-node/tool.ts'

/**
 * The sidecar's JavaScript in a directory of the test's own (which must exist): no race with another run's dist/.
 * Beside a link to the packages, so that imports are found as in the checkout.
 */
export function emitSidecar(work: string): string {
  symlinkSync(join(ROOT, 'node_modules'), join(work, 'node_modules'))
  const dist = join(work, 'dist')
  const config = join(work, 'tsconfig.json')
  const compilerOptions = { rootDir: ROOT, outDir: dist, typeRoots: [join(ROOT, 'node_modules/@types')] }
  const include = [join(ROOT, 'sidecar'), join(ROOT, 'contracts')]
  writeFileSync(
    config,
    JSON.stringify({ extends: join(ROOT, 'tsconfig.build.json'), compilerOptions, include }),
  )
  const args = ['-p', config]
  try {
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), args, { encoding: 'utf8' })
  } catch (cause) {
    throw new Error(`tsc: ${(cause as { readonly stdout?: string }).stdout}`, { cause })
  }
  return dist
}
