import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generatedPages, ROOT } from './pages.ts'

for (const [path, text] of await generatedPages()) writeFileSync(join(ROOT, path), text)
