import { createHash } from 'node:crypto'

// Software bill of materials: CycloneDX 1.6 JSON, without times or random serial numbers, so equal images have equal ones.

export interface Part {
  readonly name: string
  readonly version: string
  readonly license?: string
  readonly from: 'npm' | 'debian' | 'golang' | 'own'
}

export function sbom(image: string, digest: string, parts: readonly Part[]): string {
  const components = [...parts].sort((a, b) => (purl(a) < purl(b) ? -1 : 1)).map(component)
  const tree = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(digest)}`,
    version: 1,
    metadata: {
      component: {
        type: 'container',
        'bom-ref': image,
        name: image,
        version: digest,
        hashes: [{ alg: 'SHA-256', content: digest.replace('sha256:', '') }],
      },
    },
    components,
    dependencies: [{ ref: image, dependsOn: components.map((one) => one['bom-ref']) }],
  }
  return `${JSON.stringify(tree, undefined, 2)}\n`
}

function component(part: Part) {
  const { name, version, license, from } = part
  return {
    type: from === 'own' || from === 'golang' ? 'application' : 'library',
    'bom-ref': purl(part),
    name,
    version,
    purl: purl(part),
    ...(license ? { licenses: [{ license: { name: license } }] } : {}),
  } as const
}

function purl({ name, version, from }: Part): string {
  const [type, path] = {
    npm: ['npm', name.replace('@', '%40')],
    debian: ['deb/debian', name],
    golang: ['golang', name],
    own: ['generic', name],
  }[from]
  return `pkg:${type}/${path}@${encodeURIComponent(version)}`
}

// A name-based UUID (RFC 9562, version 8: custom) of the manifest's digest.
function uuidOf(digest: string): string {
  const hex = createHash('sha256').update(digest).digest('hex')
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`]
  return [...parts, hex.slice(20, 32)].join('-')
}
