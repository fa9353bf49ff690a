import { createHash } from 'node:crypto'
import { zstdCompressSync } from 'node:zlib'
import { type Entry, tar } from './tar.ts'

// OCI image layout in one tar file (image-spec v1.1), written without a container tool. Equal content, equal bytes.

export interface Layer {
  readonly blob: Buffer
  readonly digest: string
  /** Of the uncompressed archive, as the configuration must name it. */
  readonly diffId: string
  readonly uncompressedBytes: number
}

export interface ImagePlan {
  /** `registry/name:tag`. */
  readonly ref: string
  readonly layers: readonly Layer[]
  readonly entrypoint: readonly string[]
  readonly env?: readonly string[]
  readonly workingDir?: string
  /** `uid:gid`, numeric: runAsNonRoot cannot be checked against a name. */
  readonly user: string
  readonly exposed?: readonly number[]
  readonly labels?: Readonly<Record<string, string>>
}

export interface Archive {
  readonly bytes: Buffer
  /** Of the manifest: what a pod's `name@sha256:...` says. */
  readonly digest: string
}

const TYPE = 'application/vnd.oci.image'

export function layer(entries: readonly Entry[]): Layer {
  const plain = tar(entries)
  const blob = zstdCompressSync(plain)
  return { blob, digest: sha256(blob), diffId: sha256(plain), uncompressedBytes: plain.length }
}

export function archive(plan: ImagePlan): Archive {
  const config = json(configOf(plan))
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${TYPE}.manifest.v1+json`,
    config: { mediaType: `${TYPE}.config.v1+json`, digest: sha256(config), size: config.length },
    layers: plan.layers.map(({ blob, digest }) => ({
      mediaType: `${TYPE}.layer.v1.tar+zstd`,
      digest,
      size: blob.length,
    })),
  })
  const digest = sha256(manifest)
  const index = json(indexOf(plan.ref, digest, manifest.length))
  const blobs = new Map(
    [config, manifest, ...plan.layers.map(({ blob }) => blob)].map((one) => [sha256(one), one]),
  )
  const bytes = tar([
    { path: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', content: index },
    ...[...blobs].map(([id, content]) => ({ path: `blobs/${id.replace(':', '/')}`, content })),
  ])
  return { bytes, digest }
}

/** A tag's name without the tag, with the digest. */
export function pinnedRef(ref: string, digest: string): string {
  return `${ref.replace(/:[^:/]+$/, '')}@${digest}`
}

function configOf(plan: ImagePlan): object {
  const ports = (plan.exposed ?? []).map((port) => [`${port}/tcp`, {}] as const)
  return {
    created: '1970-01-01T00:00:00Z',
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: {
      User: plan.user,
      Entrypoint: plan.entrypoint,
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', ...(plan.env ?? [])],
      WorkingDir: plan.workingDir ?? '/',
      ...(ports.length > 0 ? { ExposedPorts: Object.fromEntries(ports) } : {}),
      ...(plan.labels ? { Labels: plan.labels } : {}),
    },
    rootfs: { type: 'layers', diff_ids: plan.layers.map(({ diffId }) => diffId) },
    history: plan.layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'test/images' })),
  }
}

// Two names for one manifest: pods of a chart name the digest, people the tag.
function indexOf(ref: string, digest: string, size: number): object {
  const named = (name: string) => ({
    mediaType: `${TYPE}.manifest.v1+json`,
    digest,
    size,
    annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
  })
  const manifests = [named(ref), named(pinnedRef(ref, digest))]
  return { schemaVersion: 2, mediaType: `${TYPE}.index.v1+json`, manifests }
}

function sha256(content: Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}

function json(tree: unknown): Buffer {
  return Buffer.from(JSON.stringify(tree))
}
