import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join, relative } from 'node:path'
import { ROOT } from '../cluster-node/tool.ts'
import { type ImageBuilt, keepImage } from '../images/build.ts'
import { closureOf } from '../images/closure.ts'
import { testapp } from '../images/test-images.ts'

const IMPORTED = /'\.\.\/\.\.\/\.\.\/(contracts\/[^']+)\.ts'/g

/** The application that has been taken over, with what it speaks. `dist` must be there (make build). */
export function hostileImage(): ImageBuilt {
  const dist = join(ROOT, 'dist')
  const source = readFileSync(join(ROOT, 'test/e2e/hostile/main.ts'), 'utf8')
  const main = stripTypeScriptTypes(source).replace(IMPORTED, "'./$1.js'")
  const content: Record<string, Uint8Array> = {
    'app/main.js': Buffer.from(main),
    'app/package.json': Buffer.from('{"type":"module"}'),
  }
  // The client, for the gRPC library that generated code does not import by itself.
  const modules = ['contracts/client', ...[...source.matchAll(IMPORTED)].map(([, module]) => module)]
  for (const module of modules) {
    const { files, packages } = closureOf(join(dist, `${module}.js`))
    for (const file of files) content[`app/${relative(dist, file)}`] = readFileSync(file)
    for (const { directory, files: inside } of packages) {
      for (const path of ['package.json', ...inside])
        content[`app/${relative(ROOT, directory)}/${path}`] = readFileSync(join(directory, path))
    }
  }
  return keepImage(testapp(content, { name: 'hostile', main: '/app/main.js' }))
}
