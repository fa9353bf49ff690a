import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ROOT } from '../cluster-node/tool.ts'
import { writeArchive } from './base.ts'
import { pinnedRef } from './oci.ts'
import { type Built, type Program, product } from './product.ts'
import { busybox, spiffeProbe, type TestImage, testapp } from './test-images.ts'

// node test/images/build.ts [--dist DIR]: every image whose main has been emitted, with sizes and digests.
// The emitted JavaScript must be there (make build).

export interface ImageBuilt {
  /** Path of the OCI archive. */
  readonly archive: string
  /** `portcullis.test/<name>:dev`. */
  readonly ref: string
  /** `portcullis.test/<name>@sha256:...`: runs in a pod after openCluster or importImage has taken the archive. */
  readonly pinned: string
  readonly digest: string
  /** Of the archive. */
  readonly bytes: number
  readonly uncompressedBytes: number
  /** Path of the bill of materials; test images have none. */
  readonly sbom?: string
}

export interface BuildOptions {
  readonly dist?: string
  /** Only these; all by default. */
  readonly only?: readonly string[]
}

export async function buildImages({
  dist = join(ROOT, 'dist'),
  only,
}: BuildOptions = {}): Promise<Readonly<Record<string, ImageBuilt>>> {
  const makers: Readonly<Record<string, () => Promise<Built | TestImage> | TestImage>> = {
    ...Object.fromEntries(programsIn(dist).map((program) => [program.name, () => product(program)] as const)),
    busybox,
    testapp: () => testapp(),
    'spiffe-probe': spiffeProbe,
  }
  const done: Record<string, ImageBuilt> = {}
  for (const name of only ?? Object.keys(makers)) {
    const make = makers[name]
    if (!make)
      throw new Error(`no image is called ${name}, or ${dist}/${name}/main.js is missing: run make build`)
    done[name] = keepImage(await make())
  }
  return done
}

/** Writes the archive beside the others; for images that a test makes with `testapp`. */
export function keepImage(image: Built | TestImage): ImageBuilt {
  const path = writeArchive(image.name, image)
  const { ref, digest, uncompressedBytes } = image
  const built = { archive: path, ref, digest, uncompressedBytes, bytes: image.bytes.length }
  const pinned = pinnedRef(ref, digest)
  if (!('sbom' in image)) return { ...built, pinned }
  const list = path.replace(/\.tar$/, '.cdx.json')
  mkdirSync(dirname(list), { recursive: true })
  writeFileSync(list, image.sbom)
  return { ...built, pinned, sbom: list }
}

function programsIn(dist: string): readonly Program[] {
  return (['sidecar', 'operator'] as const)
    .map((name) => ({ name, dist, entry: join(dist, name, 'main.js') }))
    .filter(({ entry }) => existsSync(entry))
}

if (import.meta.main) {
  const at = process.argv.indexOf('--dist')
  const dist = at < 0 ? undefined : process.argv[at + 1]
  const images = await buildImages(dist === undefined ? {} : { dist })
  for (const missing of ['sidecar', 'operator'].filter((name) => !images[name])) {
    console.error(`images: ${missing} NOT BUILT: its main has not been emitted (make build)`)
    process.exitCode = 1
  }
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`.padStart(9)
  for (const [name, image] of Object.entries(images)) {
    console.log(
      `${name.padEnd(13)}${mb(image.bytes)} (${mb(image.uncompressedBytes).trim()} unpacked)  ${image.pinned}`,
    )
    console.log(`${' '.repeat(13)}${image.archive}${image.sbom ? `\n${' '.repeat(13)}${image.sbom}` : ''}`)
  }
}
