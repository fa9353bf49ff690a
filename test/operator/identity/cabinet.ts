import type { Cabinet, Shelf } from '../../../operator/identity/ports.ts'

/** The two kinds of object with the API server's compare-and-swap, and injected failures. */
export interface MemoryCabinet extends Cabinet {
  readonly shelves: Map<string, Shelf>
  /** Asked before each write: `lose` writes and fails, `fail` fails without writing, `conflict` is another's victory. */
  trouble: (write: number, name: string) => 'none' | 'fail' | 'lose' | 'conflict'
  writes: number
}

export function memoryCabinet(): MemoryCabinet {
  const shelves = new Map<string, Shelf>()
  const cabinet: MemoryCabinet = {
    shelves,
    trouble: () => 'none',
    writes: 0,
    read: async (kind, name) => shelves.get(`${kind}/${name}`),
    write: async ({ kind, name, version }, content) => {
      cabinet.writes += 1
      const trouble = cabinet.trouble(cabinet.writes, name)
      if (trouble === 'conflict') return 'conflict'
      if (trouble === 'fail') throw new Error('injected: not written')
      if (shelves.get(`${kind}/${name}`)?.version !== version) return 'conflict'
      shelves.set(`${kind}/${name}`, { content, version: `v${cabinet.writes}` })
      if (trouble === 'lose') throw new Error('injected: written, answer lost')
      return 'stored'
    },
  }
  return cabinet
}
