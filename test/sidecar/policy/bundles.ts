import { hash } from 'node:crypto'
import { resolve } from 'node:path'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import type { BundleFiles } from '../../../sidecar/policy/bundle.ts'

// Bundles, and bundles with something changed.

const ROOT = resolve(import.meta.dirname, '../../..')

export type Changes = Readonly<Record<string, string | Uint8Array | undefined>>

export const hostileBundle = (name: string): Promise<BundleFiles> =>
  readBundle(resolve(ROOT, 'test/policies/hostile', name))
export const invoicesBundle = (): Promise<BundleFiles> =>
  readBundle(resolve(ROOT, 'policies/invoices/bundle'))

/** The same bundle with files replaced or, by `undefined`, left out; its manifest still tells of the old ones. */
export function changed(files: BundleFiles, changes: Changes): Map<string, Uint8Array> {
  const copy = new Map(files)
  for (const [path, content] of Object.entries(changes)) {
    if (content === undefined) copy.delete(path)
    else copy.set(path, Buffer.from(content))
  }
  return copy
}

/** The same, by somebody who can also write the manifest: digests are right again. */
export function repacked(
  files: BundleFiles,
  changes: Changes,
  manifest: Readonly<Record<string, unknown>> = {},
) {
  const copy = changed(files, changes)
  const digests: Record<string, string> = {}
  for (const [path, content] of copy)
    if (path !== '.manifest') digests[path] = `sha256:${hash('sha256', content)}`
  const text = JSON.stringify({ ...manifestOf(files), metadata: { digests }, ...manifest })
  return copy.set('.manifest', Buffer.from(text))
}

export function manifestOf(files: BundleFiles): Readonly<Record<string, unknown>> {
  const manifest: unknown = JSON.parse(textOf(files, '.manifest'))
  return typeof manifest === 'object' && manifest !== null ? { ...manifest } : {}
}

export function textOf(files: BundleFiles, path: string): string {
  return Buffer.from(files.get(path) ?? '').toString()
}

/** Input of the application's policy, as judge.ts writes it, for an action that needs nothing else. */
export function inputFor(action: string, change: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    version: 1,
    now: 1_790_000_000,
    subject: {
      id: 'alice',
      tenant: 'acme',
      kind: 'user',
      client_id: 'web',
      issuer: 'https://id.example',
      roles: [],
      scopes: [action],
    },
    token: { sub: 'alice' },
    action,
    http: { method: 'GET', url: '/' },
    resource: {
      stored: { type: 'app', id: '1', tenant: 'acme', owner: 'alice', attributes: {} },
      request: {},
    },
    ...change,
  })
}
