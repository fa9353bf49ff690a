import { parseJson, type Refusal, recordOf, refusalOf } from './answer.ts'
import { asObject, type KubeObject } from './resource.ts'

/** One line of a watch stream. */
export type WatchEvent =
  | {
      readonly kind: 'object'
      readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
      readonly object: KubeObject
      readonly version: string
    }
  /** Nothing of interest happened up to this version. `initialEnd`: everything that existed has been sent (KEP-3157). */
  | { readonly kind: 'bookmark'; readonly version: string; readonly initialEnd: boolean }
  | { readonly kind: 'refused'; readonly refused: Refusal }
  /** Not an event, or a line that was cut off or never ended. The stream cannot be trusted any further. */
  | { readonly kind: 'garbage'; readonly why: string }

const NEWLINE = 0x0a
/** etcd keeps 1.5 MiB an object by default; managed fields and JSON come on top. */
const MAX_LINE_BYTES = 8 * 1024 * 1024
const INITIAL_END = 'k8s.io/initial-events-end'

/** Cuts a stream into events. Ends with the stream, or right after garbage. */
export async function* readEvents(chunks: AsyncIterable<Buffer>): AsyncGenerator<WatchEvent, void> {
  let rest: Buffer[] = []
  let size = 0
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      // Decoded line by line: a chunk may end in the middle of a character.
      const line = Buffer.concat([...rest, chunk.subarray(from, end)]).toString('utf8')
      rest = []
      size = 0
      from = end + 1
      if (line.trim() === '') continue
      const event = parseEvent(line)
      yield event
      if (event.kind === 'garbage') return
    }
    size += chunk.length - from
    rest.push(chunk.subarray(from))
    if (size > MAX_LINE_BYTES) return yield { kind: 'garbage', why: `a line beyond ${MAX_LINE_BYTES} bytes` }
  }
  if (size > 0) yield { kind: 'garbage', why: 'the stream ended within a line' }
}

function parseEvent(line: string): WatchEvent {
  const { type, object } = recordOf(parseJson(line))
  if (type === 'ERROR') {
    const code = recordOf(object)['code']
    return {
      kind: 'refused',
      refused: refusalOf(typeof code === 'number' ? code : 500, JSON.stringify(object ?? null), undefined),
    }
  }
  if (type === 'BOOKMARK') return parseBookmark(object)
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED')
    return { kind: 'garbage', why: 'a line is not a watch event' }
  const found = asObject(object)
  const version = found?.metadata.resourceVersion
  if (!found || !version) return { kind: 'garbage', why: `${type} without an object` }
  return { kind: 'object', type, object: found, version }
}

// A bookmark's object has no name, only a version.
function parseBookmark(object: unknown): WatchEvent {
  const metadata = recordOf(recordOf(object)['metadata'])
  const version = metadata['resourceVersion']
  if (typeof version !== 'string' || version === '')
    return { kind: 'garbage', why: 'BOOKMARK without a version' }
  return {
    kind: 'bookmark',
    version,
    initialEnd: recordOf(metadata['annotations'])[INITIAL_END] === 'true',
  }
}

/**
 * Whether `version` lies after `last`. Versions of one resource grow (comparable since KEP-5504); where they are not numbers,
 * as some aggregated API servers have it, everything counts as later.
 */
export function isLater(version: string, last: string): boolean {
  if (!/^\d{1,20}$/.test(version) || !/^\d{1,20}$/.test(last)) return true
  return BigInt(version) > BigInt(last)
}
