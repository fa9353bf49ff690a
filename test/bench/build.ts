import { execFileSync } from 'node:child_process'
import { copyFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { tempDirectory } from '../fixtures/process.ts'
import { ROOT } from '../fixtures/sidecar.ts'

// What is measured: a build of its own, so that work going on in the checkout cannot change it halfway.

/** Paths inside one build. */
export interface Built {
  readonly sidecar: string
  /** A server of `servers/`, by name. */
  readonly server: (name: string) => string
}

export function build(): Built {
  const directory = tempDirectory('bench-build')
  // Beside the emitted code as in an image: dependencies, the floor policy, and that these are ES modules.
  for (const name of ['node_modules', 'policies']) symlinkSync(join(ROOT, name), join(directory, name))
  copyFileSync(join(ROOT, 'package.json'), join(directory, 'package.json'))
  const compiler = join(ROOT, 'node_modules/.bin/tsc')
  run(compiler, '-p', 'tsconfig.build.json', '--outDir', join(directory, 'dist'))
  run(compiler, '-p', 'test/bench/tsconfig.json', '--outDir', join(directory, 'bench'))
  return {
    sidecar: join(directory, 'dist/sidecar/main.js'),
    server: (name) => join(directory, 'bench/test/bench/servers', `${name}.js`),
  }
}

/** Runs a program in the checkout and returns what it printed. */
export function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}
