import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join, relative } from 'node:path'
import { ROOT } from '../cluster-node/tool.ts'
import { type ImageBuilt, keepImage } from '../images/build.ts'
import { closureOf } from '../images/closure.ts'
import { testapp } from '../images/test-images.ts'

/** The sample application with the client that it imports, as an image. `dist` must be there (make build). */
export function appImage(): ImageBuilt {
  const dist = join(ROOT, 'dist')
  const { files, packages } = closureOf(join(dist, 'contracts/client.js'))
  const source = readFileSync(join(ROOT, 'test/e2e/app/main.ts'), 'utf8')
  const main = stripTypeScriptTypes(source).replace(
    "'../../../contracts/client.ts'",
    "'./contracts/client.js'",
  )
  const content: Record<string, Uint8Array> = {
    'app/main.js': Buffer.from(main),
    'app/package.json': Buffer.from('{"type":"module"}'),
  }
  for (const file of files) content[`app/${relative(dist, file)}`] = readFileSync(file)
  for (const { directory, files: inside } of packages) {
    const place = `app/${relative(ROOT, directory)}`
    for (const path of ['package.json', ...inside])
      content[`${place}/${path}`] = readFileSync(join(directory, path))
  }
  return keepImage(testapp(content, { name: 'sample', main: '/app/main.js' }))
}
